"""Deformable convolution by torchvision, where mmcv was installed without compiling.

torchvision has both versions, without a mask and with one, for CPU and CUDA. Its
layouts are mmcv's: offsets are (y, x) for each place of the kernel, one deformable
group after the other; a group of the weights reads its share of the channels. Half
precision is computed in float32.
"""

import math
from typing import NamedTuple

import torch
import torchvision  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor

_OUTSIDE = -3e4  # pixels; half precision holds it


class _Geometry(NamedTuple):
    """What torchvision's operator takes after its tensors, in its order."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    deform_groups: int
    use_mask: bool


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Deformable convolution, version 1, written into ``output``.

    Args:
        input: (N, C, H, W).
        weight: (D, C / groups, kH, kW).
        offset: (N, 2 * deformable groups * kH * kW, H', W').
        output: (N, D, H', W').
        columns: a buffer; not used.
        ones: likewise.
        kW: width of the kernel; follows from the weight, as ``kH`` does.
        kH: likewise its height.
        dW: stride along the width.
        dH: stride along the height.
        padW: zeros on either side.
        padH: zeros above and below.
        dilationW: between columns of the kernel.
        dilationH: between its rows.
        group: of channels that the weights read apart.
        deformable_group: of channels that have offsets of their own.
        im2col_step: how the compiled operator splits the batch; not read.
    """
    del columns, ones, kW, kH, im2col_step
    geometry = _Geometry(
        *(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group), False
    )
    output.copy_(_forward(input, weight, offset, None, None, geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Gradients of input and offset, written into ``grad_input`` and ``grad_offset``.

    torchvision gives that of the weight in the same call: it is left in ``columns``,
    for :func:`deform_conv_backward_parameters` of the same backward.
    """
    del kW, kH, im2col_step
    geometry = _Geometry(
        *(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group), False
    )
    gradients = _backward(grad_output, input, weight, offset, None, None, geometry)
    grad_input.copy_(gradients.input)
    grad_offset.copy_(gradients.offset)
    columns.resize_(weight.shape).copy_(gradients.weight)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Gradient of the weight times ``scale``, added to ``grad_weight``."""
    del ones, im2col_step
    if columns.shape == grad_weight.shape:
        gradient = columns
    else:  # neither input nor offset wants a gradient
        geometry = _Geometry(
            *(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group), False
        )
        weight = input.new_zeros(grad_weight.shape)  # its own gradient does not read it
        gradient = _backward(
            grad_output, input, weight, offset, None, None, geometry
        ).weight
    grad_weight.add_(gradient.to(grad_weight), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Deformable convolution, version 2, written into ``output``.

    Arguments: as of :func:`deform_conv_forward`; ``mask`` (N, deformable groups * kH *
    kW, H', W') multiplies what is read; ``bias`` (D,) counts with ``with_bias`` only.
    Offset and mask may be larger than the output, see :func:`_first_values`.
    """
    del ones, columns, kernel_h, kernel_w
    geometry = _Geometry(
        *(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w),
        *(group, deformable_group, True),
    )
    added = bias if with_bias else None
    size = output.shape[2:]
    offset, mask = _first_values(offset, size), _first_values(mask, size)
    output.copy_(_forward(input, weight, offset, mask, added, geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Gradients of :func:`modulated_deform_conv_forward`, written into ``grad_*``."""
    del ones, columns, kernel_h, kernel_w
    geometry = _Geometry(
        *(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w),
        *(group, deformable_group, True),
    )
    added = bias if with_bias else None
    size = grad_output.shape[2:]
    offset, mask = _first_values(offset, size), _first_values(mask, size)
    gradients = _backward(grad_output, input, weight, offset, mask, added, geometry)
    grad_input.copy_(gradients.input)
    grad_weight.copy_(gradients.weight)
    _write_first_values(grad_offset, gradients.offset)
    _write_first_values(grad_mask, gradients.mask)
    if with_bias:
        grad_bias.copy_(gradients.bias)


def _first_values(tensor: Tensor, size: torch.Size) -> Tensor:
    """As many values of each image as the output needs, the first ones in memory.

    So mmcv's compiled operator reads offset and mask: by the output's height and width,
    whatever theirs are. mmdet's DyHead relies on it, where it convolves the next
    smaller level with the offset of a level.

    Args:
        tensor: (N, C, H, W).
        size: height and width of the output.

    Returns: (N, C, *size); the tensor itself if it has that size.
    """
    if tensor.shape[2:] == size:
        return tensor
    shape = (tensor.shape[1], *size)
    values: Tensor = tensor.flatten(1)[:, : math.prod(shape)].unflatten(1, shape)
    return values


def _write_first_values(target: Tensor, values: Tensor) -> None:
    """The reverse: what was not read has no gradient."""
    written = target.new_zeros(target.shape).flatten(1)
    written[:, : math.prod(values.shape[1:])] = values.flatten(1)
    target.copy_(written.view(target.shape))


class _Gradients(NamedTuple):
    """As torchvision returns them."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: _Geometry,
) -> Tensor:
    if input.shape[1] != weight.shape[1] * geometry.groups:
        # torchvision's operator would read past the end of the input.
        raise RuntimeError(
            f'deformable convolution: the input has {input.shape[1]} channels, the '
            f'weight {tuple(weight.shape)} in {geometry.groups} groups expects '
            f'{weight.shape[1] * geometry.groups}.'
        )
    operands = _operands(input, weight, offset, mask, bias)
    output: Tensor = torch.ops.torchvision.deform_conv2d(*operands, *geometry)
    # Where an offset is NaN the output is, so that it is seen.
    return output + 0 * offset.sum(dim=1, keepdim=True).to(output)


def _backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: _Geometry,
) -> _Gradients:
    operands = _operands(input, weight, offset, mask, bias)
    gradient = grad_output.to(operands[0])
    return _Gradients(
        *torch.ops.torchvision._deform_conv2d_backward(gradient, *operands, *geometry)
    )


def _operands(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
) -> list[Tensor]:
    """In float32 at least; zeros for no mask and no bias, as torchvision wants them.

    Of an offset that is NaN, torchvision's operator would read anywhere in memory, and
    crash: it gets one outside of the input, as the compiled one takes it for.
    """
    if mask is None:
        mask = input.new_zeros(len(input), 1)
    if bias is None:
        bias = input.new_zeros(len(weight))
    offset = offset.nan_to_num(nan=_OUTSIDE, posinf=math.inf, neginf=-math.inf)
    operands = [input, weight, offset, mask, bias]
    dtype = torch.float32
    for operand in operands:
        dtype = torch.promote_types(dtype, operand.dtype)
    return [operand.to(dtype) for operand in operands]
