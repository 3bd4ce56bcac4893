"""Deformable attention on CUDA, where mmcv was installed without compiling.

On a CPU mmcv computes it in plain torch itself; on CUDA it calls its operators, which
are here that same function, in float32 at least. It takes more time and memory.
"""

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Attended values (N, Q, C), as ``mmcv._ext`` gives them.

    Args:
        value: (N, P, heads, C / heads), of all levels one after the other.
        value_spatial_shapes: (levels, 2), height and width of each.
        value_level_start_index: follows from the shapes; not read.
        sampling_locations: (N, Q, heads, levels, points, 2), from 0 to 1.
        attention_weights: (N, Q, heads, levels, points).
        im2col_step: how the compiled operator splits the batch; not read.
    """
    del value_level_start_index, im2col_step
    tensors = (value, sampling_locations, attention_weights)
    return _attend(value_spatial_shapes, *tensors).to(value)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Gradients of :func:`ms_deform_attn_forward`, written into the last three."""
    del value_level_start_index, im2col_step
    tensors = [
        item.detach().requires_grad_()
        for item in (value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad():
        output = _attend(value_spatial_shapes, *tensors)
    gradients = torch.autograd.grad(output, tensors, grad_output.to(output))
    written = (grad_value, grad_sampling_loc, grad_attn_weight)
    for buffer, gradient in zip(written, gradients, strict=True):
        buffer.copy_(gradient)


def _attend(
    shapes: Tensor, value: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    # Not above: this module stands in for what mmcv.ops imports.
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    dtype = torch.promote_types(value.dtype, torch.float32)
    tensors = (item.to(dtype) for item in (locations, weights))
    attended: Tensor = multi_scale_deformable_attn_pytorch(
        value.to(dtype), shapes, *tensors
    )
    return attended
