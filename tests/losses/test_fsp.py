"""Flow of the solution procedure: how the channels of two layers go together."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import FSPLoss, flow_distance, flow_matrix

from ._cases import LossCase, features
from ._common import backward, gradient

CASES = [
    LossCase('fsp', FSPLoss, features(3, 4)),
]


def maps(side: int = 4) -> tuple[Tensor, Tensor]:
    """Of 3 channels, and of 5."""
    first = torch.randn(2, 3, side, side, dtype=torch.float64)
    last = torch.randn(2, 5, side, side, dtype=torch.float64)
    return first, last


# The matrix


def test_one_entry_by_hand() -> None:
    first = torch.tensor([1.0, 1.0]).view(1, 1, 1, 2)
    last = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2)
    assert flow_matrix(first, last).tolist() == [[[1.0]]]


def test_equals_numpy() -> None:
    first, last = maps()
    expected = np.einsum('nihw,njhw->nij', first.numpy(), last.numpy()) / 16
    assert_close(flow_matrix(first, last), torch.from_numpy(expected))
    assert_close(flow_matrix(last, first), torch.from_numpy(expected).mT)


@pytest.mark.parametrize(('pool', 'reduce'), [('max', np.max), ('average', np.mean)])
def test_the_larger_map_is_pooled(pool: str, reduce: object) -> None:
    first, last = torch.randn(2, 3, 8, 12).double(), torch.randn(2, 5, 4, 4).double()
    blocks = first.numpy().reshape(2, 3, 4, 2, 4, 3)
    pooled = torch.from_numpy(reduce(blocks, axis=(3, 5)))  # type: ignore[operator]
    expected = flow_matrix(pooled, last)
    assert_close(flow_matrix(first, last, pool=pool), expected)
    assert_close(flow_matrix(last, first, pool=pool), expected.mT)


def test_each_side_goes_by_the_smaller_one() -> None:
    first, last = torch.randn(1, 2, 4, 2), torch.randn(1, 3, 2, 4)
    value = flow_matrix(first, last, pool='average')
    shrunk = first.unflatten(2, (2, 2)).mean(3), last.unflatten(3, (2, 2)).mean(4)
    assert_close(value, flow_matrix(*shrunk))


def test_scale_may_move_from_one_layer_to_the_other() -> None:
    first, last = maps()
    assert_close(flow_matrix(4 * first, last / 4), flow_matrix(first, last))


def test_the_order_of_pixels_does_not_matter_if_both_share_it() -> None:
    first, last = maps()
    order = torch.randperm(16)
    moved = [item.flatten(2)[..., order].view_as(item) for item in (first, last)]
    assert_close(flow_matrix(*moved), flow_matrix(first, last))
    assert not torch.allclose(flow_matrix(moved[0], last), flow_matrix(first, last))


def test_the_size_of_the_map_does_not_matter() -> None:
    first, last = maps()
    tiled = [item.repeat(1, 1, 2, 3) for item in (first, last)]
    assert_close(flow_matrix(*tiled), flow_matrix(first, last))


def test_gradient_reaches_both_layers() -> None:
    first, last = (item.requires_grad_() for item in (maps(4)[0], maps(2)[1]))
    assert torch.autograd.gradcheck(flow_matrix, (first, last))
    assert torch.autograd.gradcheck(
        lambda *both: flow_matrix(*both, pool='average'), (first, last)
    )
    backward(flow_matrix(first, last).sum())
    assert first.grad is not None and first.grad.any()
    assert last.grad is not None and last.grad.any()


def test_computed_in_float32() -> None:
    first, last = (300 * item.half().sign() for item in maps())
    flow = flow_matrix(first, last)  # products of 90000, beyond float16
    assert flow.dtype == torch.float32 and flow.isfinite().all()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(flow_matrix(first, last), flow)


def test_no_images_have_no_flow() -> None:
    first, last = maps(4)[0][:0], maps(2)[1][:0]
    assert flow_matrix(first, last).shape == (0, 3, 5)


# The distance


def test_distance_by_hand() -> None:
    student, teacher = torch.full((1, 1, 1), 1.0), torch.full((1, 1, 1), 3.0)
    assert flow_distance(student, teacher).item() == 4
    student = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    teacher = torch.tensor([[[3.0, 2.0]], [[0.0, 4.0]]])
    assert flow_distance(student, teacher, reduction='none').tolist() == [8, 16]
    assert flow_distance(student, teacher).item() == 12


def test_distance_equals_numpy() -> None:
    student, teacher = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    difference = student.numpy() - teacher.numpy()
    expected = np.linalg.norm(difference, axis=(1, 2)) ** 2
    value = flow_distance(student, teacher, reduction='none')
    assert_close(value, torch.from_numpy(expected))


def test_grows_with_the_fourth_power_of_the_features() -> None:
    student, teacher = flow_matrix(*maps()), flow_matrix(*maps())
    grown = 9 * student, 9 * teacher  # of features three times as large
    assert_close(flow_distance(*grown), 81 * flow_distance(student, teacher))


def test_finite_for_features_of_a_hundred_deviations() -> None:
    first, last = (100 * item.float() for item in maps(16))
    first.requires_grad_()
    flow = flow_matrix(first, last)
    value = flow_distance(flow, torch.zeros_like(flow))
    assert value.isfinite() and gradient(value, first).isfinite().all()


def test_module_weighs_the_distance() -> None:
    student, teacher = torch.randn(2, 2, 3, 5)
    value = FSPLoss(loss_weight=0.25)(student, teacher)
    assert_close(value, 0.25 * flow_distance(student, teacher))


# Bad input


def test_unknown_pools_are_refused() -> None:
    with pytest.raises(ConfigError, match="pool must be 'max' or 'average', got 'sum'"):
        flow_matrix(*maps(), pool='sum')


@pytest.mark.parametrize('shape', [(2, 3), (3, 3, 4, 4)])
def test_a_flow_runs_between_maps_of_the_same_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r'two maps \(N, C, H, W\) of the same images'):
        flow_matrix(torch.zeros(shape), maps()[1])


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((2, 3, 6), r'\(2, 3, 5\) and teacher \(2, 3, 6\) differ in images or channel'),
        ((2, 3, 5, 5), r"teacher must be \(N, m, n\).*view=dict\(type='layer.flow'"),
    ],
)
def test_shapes_that_differ_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        FSPLoss()(torch.zeros(2, 3, 5), torch.zeros(shape))
