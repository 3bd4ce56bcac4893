"""RoIAlign and NMS of torchvision: against mmcv's own, against autograd, by hand."""

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import HostError
from kd_plugins.hosts import operators
from kd_plugins.hosts.extension import compiled_operators

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
BOXES = torch.tensor(
    [[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 9]]
)
SCORES = torch.tensor([0.5, 0.9, 0.25, 0.75])
EMPTY = torch.zeros(0)

needs_compiled = pytest.mark.skipif(
    not compiled_operators(), reason='mmcv is installed without compiling'
)
needs_ours = pytest.mark.skipif(
    compiled_operators(), reason='mmcv has its own compiled operators'
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
