"""The focal loss: against mmdet's own formula, by hand, and under mmcv."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from kd_plugins.hosts import operators
from kd_plugins.hosts.extension import compiled_operators

EMPTY = torch.zeros(0)


def focal_loss(logits, target, gamma, alpha, weight=EMPTY):
    """Value and gradient of the sum, by our functions."""
    value, gradient = torch.zeros_like(logits), torch.zeros_like(logits)
    arguments = dict(gamma=gamma, alpha=alpha)
    operators.sigmoid_focal_loss_forward(logits, target, weight, value, **arguments)
    operators.sigmoid_focal_loss_backward(logits, target, weight, gradient, **arguments)
    return value, gradient


def test_focal_loss_by_hand():
    # One positive at probability 3/4, one negative at 1/4: the same term, weighted.
    logits = torch.tensor([[3.0, 1 / 3]]).log()
    value, _ = focal_loss(logits, torch.tensor([0]), gamma=2.0, alpha=0.25)
    term = 0.25**2 * torch.tensor(4 / 3).log()
    assert_close(value, torch.stack([0.25 * term, 0.75 * term])[None])


@given(
    seed=st.integers(0, 1000),
    gamma=st.sampled_from([0.0, 0.5, 2.0, 3.0]),
    alpha=st.floats(0, 1),
)
def test_focal_loss_is_that_of_mmdet(seed, gamma, alpha):
    from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(6, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 4, (6,), generator=generator)  # 3: background
    value, gradient = focal_loss(logits, target, gamma, alpha)
    logits.requires_grad_()
    one_hot = torch.nn.functional.one_hot(target, 4)[:, :3]
    expected = py_sigmoid_focal_loss(
        logits, one_hot, gamma=gamma, alpha=alpha, reduction='none'
    )
    assert_close(value, expected.detach())
    assert_close(gradient, torch.autograd.grad(expected.sum(), logits)[0])


def test_focal_loss_is_finite_for_large_logits():
    logits = torch.tensor([[200.0, -200.0]])
    for target in (0, 1, 2):
        value, gradient = focal_loss(logits, torch.tensor([target]), 2.0, 0.25)
        assert value.isfinite().all()
        assert gradient.isfinite().all()


def test_focal_loss_weights_a_sample_by_its_class():
    logits = torch.randn(3, 2)
    target = torch.tensor([0, 1, 2])  # 2 is background, of weight 1
    plain = focal_loss(logits, target, 2.0, 0.25)
    weighted = focal_loss(logits, target, 2.0, 0.25, torch.tensor([2.0, 3.0]))
    factor = torch.tensor([[2.0], [3.0], [1.0]])
    for one, other in zip(plain, weighted, strict=True):
        assert_close(one * factor, other)


@pytest.mark.skipif(compiled_operators(), reason='mmcv has its own compiled operators')
@pytest.mark.host
def test_focal_loss_of_mmcv_runs_on_it():
    from mmcv.ops import sigmoid_focal_loss

    logits = torch.randn(4, 3, requires_grad=True)
    target = torch.tensor([0, 3, 2, 1])
    value = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    expected, gradient = focal_loss(logits.detach(), target, 2.0, 0.25)
    value.sum().backward()
    assert_close(value.detach(), expected)
    assert_close(logits.grad, gradient)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_cuda_gives_what_the_processor_gives():
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 3, 0])
    for one, other in zip(
        focal_loss(logits, target, 2.0, 0.25),
        focal_loss(logits.cuda(), target.cuda(), 2.0, 0.25, EMPTY.cuda()),
        strict=True,
    ):
        assert_close(one, other.cpu())
