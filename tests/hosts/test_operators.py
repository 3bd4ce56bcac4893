"""The torchvision-backed operators: against mmcv's own, against autograd, by hand."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from kd_plugins.errors import HostError
from kd_plugins.hosts import operators

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
BOXES = torch.tensor(
    [[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 9]]
)
SCORES = torch.tensor([0.5, 0.9, 0.25, 0.75])
EMPTY = torch.zeros(0)

needs_compiled = pytest.mark.skipif(
    not operators.compiled_operators(), reason='mmcv is installed without compiling'
)
needs_ours = pytest.mark.skipif(
    operators.compiled_operators(), reason='mmcv has its own compiled operators'
)


def roi_align(features, rois, size=(2, 3), scale=0.5, aligned=True, pool_mode=1):
    """Forward and gradient of the sum of squares, by our functions."""
    output = features.new_zeros(len(rois), features.shape[1], *size)
    options = dict(
        aligned_height=size[0],
        aligned_width=size[1],
        spatial_scale=scale,
        sampling_ratio=2,
        pool_mode=pool_mode,
        aligned=aligned,
    )
    operators.roi_align_forward(features, rois, output, EMPTY, EMPTY, **options)
    gradient = torch.zeros_like(features)
    operators.roi_align_backward(2 * output, rois, EMPTY, EMPTY, gradient, **options)
    return output, gradient


def some_rois(dtype=torch.float32):
    return torch.tensor(
        [[0.0, 0, 0, 8, 8], [1, 2.5, 1, 9, 14], [0, -3, 4, 20, 7]], dtype=dtype
    )


def test_nms_by_hand():
    kept = operators.nms(BOXES, SCORES, iou_threshold=0.5, offset=0)
    assert kept.tolist() == [1, 2]


@pytest.mark.parametrize('dtype', DTYPES)
def test_nms_keeps_the_same_in_every_precision(dtype):
    kept = operators.nms(BOXES.to(dtype), SCORES.to(dtype), 0.5, 0)
    assert kept.tolist() == [1, 2]


def test_nms_takes_boxes_and_scores_of_two_precisions():
    kept = operators.nms(BOXES, SCORES.bfloat16(), 0.5, 0)
    assert kept.tolist() == [1, 2]


def test_nms_of_nothing():
    assert operators.nms(torch.zeros(0, 4), torch.zeros(0), 0.5, 0).tolist() == []


def test_nms_with_offset_is_refused():
    with pytest.raises(HostError, match='nms with offset=1 needs the compiled'):
        operators.nms(BOXES, SCORES, 0.5, offset=1)


def test_roi_align_of_a_constant_is_the_constant():
    features = torch.full((2, 3, 8, 8), 1.5)
    rois = torch.tensor([[0.0, 2, 2, 10, 10]])
    output, gradient = roi_align(features, rois)
    assert_close(output, torch.full((1, 3, 2, 3), 1.5))
    assert_close(gradient[0].sum(), 2 * output.sum())  # each bin's weights sum to 1
    assert gradient[1].abs().sum() == 0


def test_roi_align_gradient_is_that_of_finite_differences():
    features = torch.rand(2, 2, 7, 8, dtype=torch.float64)
    rois = some_rois(torch.float64)
    _, gradient = roi_align(features, rois)
    for place in [(0, 0, 1, 2), (1, 1, 3, 3), (0, 1, 2, 0)]:
        change = torch.zeros_like(features)
        change[place] = 1e-6
        plus = roi_align(features + change, rois)[0].square().sum()
        minus = roi_align(features - change, rois)[0].square().sum()
        assert_close((plus - minus) / 2e-6, gradient[place], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_roi_align_in_half_precision_is_float32_rounded(dtype):
    features = torch.rand(2, 2, 8, 8).to(dtype)
    rois = some_rois(dtype)
    output, gradient = roi_align(features, rois)
    expected, slope = roi_align(features.float(), rois.float())
    assert output.dtype == gradient.dtype == dtype
    assert_close(output, expected.to(dtype))
    assert_close(gradient, slope.to(dtype), rtol=2e-2, atol=2e-2)


def test_roi_align_takes_rois_of_another_precision():
    features = torch.rand(2, 2, 8, 8)
    assert_close(
        roi_align(features, some_rois(torch.float64)), roi_align(features, some_rois())
    )


def test_roi_align_of_no_rois():
    output, gradient = roi_align(torch.rand(2, 3, 8, 8), torch.zeros(0, 5))
    assert output.shape == (0, 3, 2, 3)
    assert gradient.abs().sum() == 0


def test_max_pooling_is_refused():
    with pytest.raises(HostError, match=r"pool_mode='max' needs .* pool_mode='avg'"):
        roi_align(torch.rand(2, 3, 8, 8), some_rois(), pool_mode=0)


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


@needs_ours
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


@needs_ours
@pytest.mark.host
def test_roi_align_of_mmcv_runs_under_autocast():
    from mmcv.ops import RoIAlign

    features = torch.rand(2, 2, 8, 8, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        low = (features * 1).bfloat16()
        RoIAlign((2, 3), 0.5, 2)(low, some_rois(torch.bfloat16)).sum().backward()
    assert features.grad.isfinite().all()
    assert features.grad.abs().sum() > 0


@pytest.mark.host
def test_environment_report_of_mmcv_works():
    from mmcv.utils import collect_env

    report = collect_env()
    assert report['MMCV Compiler']
    if not operators.compiled_operators():
        assert report['MMCV CUDA Compiler'] == 'not compiled: operators of torchvision'


@pytest.fixture
def uncompiled(monkeypatch):
    """An environment where mmcv has no ``_ext`` and nothing is registered yet."""
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        'find_spec',
        lambda name: None if name == 'mmcv._ext' else find_spec(name),
    )
    for name in operators._TOO_EARLY:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_registered_once_where_there_is_none(uncompiled):
    assert operators.install_operators()
    module = sys.modules['mmcv._ext']
    assert module.__spec__.origin == 'torchvision'
    assert module.nms is operators.nms
    assert operators.install_operators()
    assert sys.modules['mmcv._ext'] is module
    assert not operators.compiled_operators()


def test_other_operators_say_so_when_called(uncompiled):
    operators.install_operators()
    call = sys.modules['mmcv._ext'].softnms
    with pytest.raises(HostError, match=r"without its compiled .* 'softnms' is not"):
        call(1, two=2)


def test_private_names_are_absent(uncompiled):
    operators.install_operators()
    assert not hasattr(sys.modules['mmcv._ext'], '__path__')


def test_warns_if_a_host_was_imported_too_early(uncompiled, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet.structures', ModuleType('structures'))
    with pytest.warns(UserWarning, match='mmdet.structures was imported before'):
        operators.install_operators()


def test_compiled_operators_are_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', ModuleType('mmcv._ext'))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    assert operators.compiled_operators()
    assert not operators.install_operators()
    assert type(sys.modules['mmcv._ext']) is ModuleType


@needs_compiled
@pytest.mark.host
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_equals_the_compiled_one(aligned):
    import mmcv.ops

    features = torch.rand(2, 4, 16, 16, requires_grad=True)
    expected = mmcv.ops.roi_align(features, some_rois(), (2, 3), 0.5, 2, 'avg', aligned)
    slope = torch.autograd.grad(expected.square().sum(), features)[0]
    output, gradient = roi_align(features.detach(), some_rois(), aligned=aligned)
    assert_close(output, expected.detach(), rtol=1e-6, atol=1e-7)
    assert_close(gradient, slope, rtol=1e-6, atol=1e-7)


@needs_compiled
@pytest.mark.host
def test_nms_keeps_the_boxes_that_the_compiled_one_keeps():
    import mmcv.ops

    corners = 100 * torch.rand(300, 2)
    boxes = torch.cat([corners, corners + 5 + 30 * torch.rand(300, 2)], dim=1)
    scores = torch.rand(300)
    for threshold in (0.3, 0.5, 0.7):
        _, expected = mmcv.ops.nms(boxes, scores, threshold)
        assert operators.nms(boxes, scores, threshold, 0).tolist() == expected.tolist()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_cuda_gives_what_the_processor_gives():
    features, rois = torch.rand(2, 2, 8, 8), some_rois()
    for one, other in zip(
        roi_align(features, rois), roi_align(features.cuda(), rois.cuda()), strict=True
    ):
        assert_close(one, other.cpu())
    assert operators.nms(BOXES.cuda(), SCORES.cuda(), 0.5, 0).tolist() == [1, 2]
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 3, 0])
    for one, other in zip(
        focal_loss(logits, target, 2.0, 0.25),
        focal_loss(logits.cuda(), target.cuda(), 2.0, 0.25, EMPTY.cuda()),
        strict=True,
    ):
        assert_close(one, other.cpu())
