"""What ``mmcv._ext`` gives, by torchvision, where mmcv was installed uncompiled.

torchvision has, for CPU and CUDA, what the detectors and segmentors here need: NMS,
RoIAlign and both deformable convolutions; the focal loss and the deformable attention
that mmdet calls on CUDA, and the masked convolution of guided anchoring, are a few
lines of torch. :mod:`.extension` imports this module when the first operator is asked
for.

The functions have mmcv's names, argument names and layouts: they are called by
``mmcv.ops``. Half precision is computed in float32, as torchvision's kernels want it.
"""

from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..errors import HostError
from .deformable_attention import ms_deform_attn_backward, ms_deform_attn_forward
from .deformable_convolution import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from .masked_convolution import masked_col2im_forward, masked_im2col_forward
from .packages import COMPILE


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best score first, as ``mmcv._ext.nms`` gives them."""
    if offset != 0:
        raise HostError(
            f'nms with offset={offset} needs the compiled operators of mmcv '
            f'(torchvision knows offset=0 only). {COMPILE}'
        )
    dtype = torch.promote_types(_computed(boxes), _computed(scores))
    kept: Tensor = torchvision.ops.nms(boxes.to(dtype), scores.to(dtype), iou_threshold)
    return kept


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average-pooled RoIAlign, written into ``output`` (R, C, height, width)."""
    del argmax_y, argmax_x  # of max pooling only
    _check_average(pool_mode)
    dtype = _computed(input)
    pooled = torchvision.ops.roi_align(
        input.to(dtype),
        rois.to(dtype),
        (aligned_height, aligned_width),
        spatial_scale,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward`, written into ``grad_input``."""
    del argmax_y, argmax_x
    _check_average(pool_mode)
    dtype = _computed(grad_output)
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(gradient)


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Focal loss of each logit (N, K), written into ``output``.

    ``target`` (N,) holds classes, K for background; ``weight`` is (K,) or empty.
    """
    logits, sign, factor = _focal_terms(input, target, weight, alpha)
    # With sign -1 for a positive, sigmoid(sign * logit) is how wrong the logit is.
    wrong = torch.sigmoid(sign * logits)
    output.copy_(-factor * wrong**gamma * logsigmoid(-sign * logits))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Gradient of :func:`sigmoid_focal_loss_forward`, written into ``grad_input``."""
    logits, sign, factor = _focal_terms(input, target, weight, alpha)
    wrong = torch.sigmoid(sign * logits)
    log_right = logsigmoid(-sign * logits)
    slope = wrong - gamma * (1 - wrong) * log_right
    grad_input.copy_(sign * factor * wrong**gamma * slope)


def get_compiler_version() -> str:
    """What ``mmcv.utils.collect_env`` shows as the compiler."""
    return 'not compiled: operators of torchvision'


def get_compiling_cuda_version() -> str:
    """What ``mmcv.utils.collect_env`` shows as the CUDA compiler."""
    return 'not compiled: operators of torchvision'


def _computed(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _check_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise HostError(
            "RoIAlign with pool_mode='max' needs the compiled operators of mmcv. "
            f"Use pool_mode='avg'. {COMPILE}"
        )


def _focal_terms(
    input: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, -1 at positives and 1 elsewhere, alpha times class weight: all (N, K)."""
    logits = input.to(_computed(input))
    classes = torch.arange(logits.shape[1], device=logits.device)
    positive = target[:, None] == classes
    sign = torch.where(positive, -1.0, 1.0).to(logits.dtype)
    factor = torch.where(positive, alpha, 1 - alpha).to(logits.dtype)
    if weight.numel():
        # By the sample's class; the background has none, and counts as 1.
        factor = factor * torch.cat([weight, weight.new_ones(1)])[target, None]
    return logits, sign, factor


OPERATORS: dict[str, Callable[..., Any]] = {
    operator.__name__: operator
    for operator in (
        nms,
        roi_align_forward,
        roi_align_backward,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
        deform_conv_forward,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
        masked_im2col_forward,
        masked_col2im_forward,
        get_compiler_version,
        get_compiling_cuda_version,
    )
}
