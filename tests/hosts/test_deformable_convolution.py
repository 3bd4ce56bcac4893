"""Deformable convolution in place of the compiled one: by a loop, and by autograd."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from kd_plugins.hosts.deformable_convolution import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from kd_plugins.hosts.extension import compiled_operators

needs_ours = pytest.mark.skipif(
    compiled_operators(), reason='mmcv has its own compiled operators'
)
needs_compiled = pytest.mark.skipif(
    not compiled_operators(), reason='mmcv is installed without compiling'
)
# Different along the two axes, that none may be taken for the other.
STRIDE, PADDING, DILATION, KERNEL = (1, 2), (2, 1), (2, 1), (2, 3)
SIZE = (7, 4)  # of the output, for an input of 5 x 7
VERSIONS = pytest.mark.parametrize('masked', [False, True], ids=['v1', 'v2'])


def some(
    groups: int = 2, deform_groups: int = 2, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Input, weight, offset, mask, bias: two images, four channels, six of output."""
    generator = torch.Generator().manual_seed(0)
    places = KERNEL[0] * KERNEL[1]
    shapes = (
        (2, 4, 5, 7),
        (6, 4 // groups, *KERNEL),
        (2, 2 * deform_groups * places, *SIZE),
        (2, deform_groups * places, *SIZE),
        (6,),
    )
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in shapes
    ]


def by_hand(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    deform_groups: int = 2,
) -> Tensor:
    """Place by place of the kernel: bilinear between the pixels, 0 outside."""
    images, channels, height, width = input.shape
    places = KERNEL[0] * KERNEL[1]
    offset = offset.view(images, deform_groups, places, 2, *SIZE)
    y_pixels, x_pixels = torch.arange(height), torch.arange(width)
    y_output, x_output = (torch.arange(size) for size in SIZE)
    columns = []
    for place in range(places):
        row, column = divmod(place, KERNEL[1])
        y = y_output * STRIDE[0] - PADDING[0] + row * DILATION[0]
        x = x_output * STRIDE[1] - PADDING[1] + column * DILATION[1]
        y = y[:, None] + offset[:, :, place, 0]  # (N, groups, H', W')
        x = x[None, :] + offset[:, :, place, 1]
        near_y = (1 - (y[..., None] - y_pixels).abs()).clamp(min=0)  # (.., H)
        near_x = (1 - (x[..., None] - x_pixels).abs()).clamp(min=0)  # (.., W)
        near = near_y[..., :, None] * near_x[..., None, :]
        if mask is not None:
            near = (
                near
                * mask.view(images, deform_groups, places, *SIZE)[
                    :, :, place, :, :, None, None
                ]
            )
        share = input.view(images, deform_groups, -1, height, width)
        read = torch.einsum('ngcyx,nghwyx->ngchw', share, near)
        columns.append(read.reshape(images, channels, *SIZE))
    stacked = torch.stack(columns, dim=2)  # (N, C, places, H', W')
    parts = []
    groups = channels // weight.shape[1]
    for group in range(groups):
        filters = weight.chunk(groups)[group].flatten(2)
        parts.append(
            torch.einsum('ncphw,dcp->ndhw', stacked.chunk(groups, 1)[group], filters)
        )
    output = torch.cat(parts, dim=1)
    return output if bias is None else output + bias.view(1, -1, 1, 1)


def options(masked: bool, groups: int, deform_groups: int) -> dict[str, int]:
    """As mmcv names them."""
    shared = dict(group=groups, deformable_group=deform_groups)
    if masked:
        names = 'kernel_h kernel_w stride_h stride_w pad_h pad_w dilation_h dilation_w'
    else:
        names = 'kH kW dH dW padH padW dilationH dilationW'
    values = (*KERNEL, *STRIDE, *PADDING, *DILATION)
    return dict(zip(names.split(), values, strict=True), **shared)


class Ours(torch.autograd.Function):
    """Our functions as an operator, called as mmcv's own function calls them."""

    @staticmethod
    def forward(ctx: Any, groups: int, deform_groups: int, *tensors: Tensor) -> Tensor:
        ctx.masked = len(tensors) > 3
        ctx.options = options(ctx.masked, groups, deform_groups)
        ctx.with_bias = len(tensors) > 4
        ctx.buffers = [tensors[0].new_empty(0), tensors[0].new_empty(0)]
        ctx.save_for_backward(*tensors)
        input, weight, offset, *others = tensors
        output = input.new_empty(len(input), len(weight), *SIZE)
        if not ctx.masked:
            deform_conv_forward(
                *(input, weight, offset, output, *ctx.buffers),
                **ctx.options,
                im2col_step=1,
            )
            return output
        mask, bias = others if ctx.with_bias else (*others, input.new_empty(0))
        modulated_deform_conv_forward(
            *(input, weight, bias, ctx.buffers[0], offset, mask, output),
            ctx.buffers[1],
            **ctx.options,
            with_bias=ctx.with_bias,
        )
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        tensors = ctx.saved_tensors
        written = [torch.zeros_like(tensor) for tensor in tensors]
        input, weight, offset, *others = tensors
        columns, ones = ctx.buffers
        if not ctx.masked:
            step = dict(ctx.options, im2col_step=1)
            if ctx.needs_input_grad[2] or ctx.needs_input_grad[4]:
                deform_conv_backward_input(
                    *(input, offset, gradient, written[0], written[2], weight),
                    columns,
                    **step,
                )
            deform_conv_backward_parameters(
                *(input, offset, gradient, written[1], columns, ones), **step, scale=1
            )
            return None, None, *written
        empty = input.new_empty(0)
        mask, bias = others if ctx.with_bias else (*others, empty)
        grad_bias = written[4] if ctx.with_bias else empty
        modulated_deform_conv_backward(
            *(input, weight, bias, ones, offset, mask, columns),
            *(written[0], written[1], grad_bias, written[2], written[3], gradient),
            **ctx.options,
            with_bias=ctx.with_bias,
        )
        return None, None, *written


def ours(groups: int = 2, deform_groups: int = 2) -> Callable[..., Tensor]:
    return partial(Ours.apply, groups, deform_groups)  # type: ignore[no-any-return]


@pytest.mark.parametrize('count', [3, 4, 5], ids=['v1', 'v2', 'v2 with bias'])
@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize('deform_groups', [1, 2])
def test_values_and_gradients_are_those_of_the_loop(
    count: int, groups: int, deform_groups: int
) -> None:
    tensors = [item.requires_grad_() for item in some(groups, deform_groups)[:count]]
    expected = by_hand(*tensors, deform_groups=deform_groups)
    output = ours(groups, deform_groups)(*tensors)
    assert_close(output, expected)
    slope = torch.randn_like(expected)
    for found, gradient in zip(
        torch.autograd.grad(output, tensors, slope),
        torch.autograd.grad(expected, tensors, slope),
        strict=True,
    ):
        assert_close(found, gradient)


@VERSIONS
def test_gradcheck(masked: bool) -> None:
    tensors = [item.requires_grad_() for item in some()[: 5 if masked else 3]]
    assert torch.autograd.gradcheck(ours(), tensors, fast_mode=True)


@VERSIONS
def test_offset_0_is_the_convolution(masked: bool) -> None:
    input, weight, offset, mask, bias = some()
    more = (torch.ones_like(mask), bias) if masked else ()
    expected = F.conv2d(
        input, weight, bias if masked else None, STRIDE, PADDING, DILATION, groups=2
    )
    assert_close(ours()(input, weight, torch.zeros_like(offset), *more), expected)


@pytest.mark.parametrize(('down', 'right'), [(1, 0), (0, 2), (-1, 1)])
def test_offset_of_whole_pixels_is_the_shifted_convolution(
    down: int, right: int
) -> None:
    """Offsets are (y, x), down and to the right."""
    input, weight, offset, *_ = some()
    offset = offset.view(2, -1, 2, *SIZE)
    moved = torch.stack(
        [torch.full_like(offset[:, :, 0], shift) for shift in (down, right)], dim=2
    )
    shifted = F.pad(input, (-right, right, -down, down))
    expected = F.conv2d(shifted, weight, None, STRIDE, PADDING, DILATION, groups=2)
    output = ours()(input, weight, moved.flatten(1, 2))
    inside = (slice(None), slice(None), slice(2, 5), slice(1, 3))  # reads no border
    assert_close(output[inside], expected[inside])


def test_gradient_of_the_weight_alone() -> None:
    """With neither input nor offset to train, mmcv asks for this one only."""
    input, weight, offset, *_ = some()
    weight.requires_grad_()
    (found,) = torch.autograd.grad(ours()(input, weight, offset).sum(), weight)
    (expected,) = torch.autograd.grad(by_hand(input, weight, offset).sum(), weight)
    assert_close(found, expected)


def test_gradient_of_the_weight_is_scaled_and_added() -> None:
    input, weight, offset, *_ = some()
    gradient = torch.ones(2, 6, *SIZE, dtype=torch.float64)
    before = torch.randn_like(weight)
    empty = [input.new_empty(0), input.new_empty(0)]
    once, twice = torch.zeros_like(weight), before.clone()
    for written, scale in ((once, 1), (twice, 2)):
        deform_conv_backward_parameters(
            *(input, offset, gradient, written, *empty),
            **options(False, 2, 2),
            scale=scale,
            im2col_step=1,
        )
    assert_close(twice, before + 2 * once)


@VERSIONS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded(dtype: torch.dtype, masked: bool) -> None:
    tensors = some(dtype=dtype)[: 5 if masked else 3]
    exact = [item.float().requires_grad_() for item in tensors]
    tensors = [item.requires_grad_() for item in tensors]
    output, expected = ours()(*tensors), ours()(*exact)
    assert torch.equal(output, expected.to(dtype))
    for found, gradient in zip(
        torch.autograd.grad(output.sum(), tensors),
        torch.autograd.grad(expected.sum(), exact),
        strict=True,
    ):
        assert torch.equal(found, gradient.to(dtype))


def test_other_channels_than_the_weights_are_refused() -> None:
    conv = import_module('mmcv.ops').DeformConv2d(4, 6, 3, padding=1)
    image, offset = torch.zeros(1, 8, 5, 7), torch.zeros(1, 18, 5, 7)
    with pytest.raises(
        RuntimeError, match=r'input has 8 channels, the weight \(6, 4, '
    ):
        conv(image, offset)


def test_a_batch_of_no_images() -> None:
    input, weight, offset, mask, bias = some()
    tensors = (input[:0], weight.requires_grad_(), offset[:0], mask[:0], bias)
    output = ours()(*tensors)
    assert output.shape == (0, 6, *SIZE)
    output.sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() == 0


def test_of_larger_offsets_the_first_values_in_memory_are_read() -> None:
    """As mmcv's compiled operator reads those of DyHead, by the size of the output."""
    input, weight, offset, mask, _ = some()
    larger = [torch.randn(*item.shape[:2], 9, 8).double() for item in (offset, mask)]
    for item, values in zip(larger, (offset, mask), strict=True):
        for image, value in zip(item.view(2, -1), values.flatten(1), strict=True):
            image[: value.numel()] = value
    tensors = [item.requires_grad_() for item in (input, weight, offset, mask)]
    wide = [item.requires_grad_() for item in larger]
    output, expected = ours()(input, weight, *wide), by_hand(*tensors)
    assert_close(output, expected)
    gradients = torch.autograd.grad(output.square().sum(), wide)
    slopes = torch.autograd.grad(expected.square().sum(), (offset, mask))
    for found, slope in zip(gradients, slopes, strict=True):
        read = slope[0].numel()
        assert_close(found.flatten(1)[:, :read], slope.flatten(1))
        assert found.flatten(1)[:, read:].abs().sum() == 0


@needs_ours
@pytest.mark.host
def test_functions_of_mmcv_take_them() -> None:
    """As the host calls them, by name and by place."""
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    geometry = (STRIDE, PADDING, DILATION, 2, 2)
    tensors: list[Any] = [item.requires_grad_() for item in some()]
    input, weight, offset, mask, bias = tensors
    for function, used, arguments in (
        (deform_conv2d, tensors[:3], (input, offset, weight)),
        (modulated_deform_conv2d, tensors[:4], (input, offset, mask, weight, None)),
        (modulated_deform_conv2d, tensors, (input, offset, mask, weight, bias)),
    ):
        output, expected = function(*arguments, *geometry), by_hand(*used)
        assert_close(output, expected)
        for found, gradient in zip(
            torch.autograd.grad(output.square().sum(), used),
            torch.autograd.grad(expected.square().sum(), used),
            strict=True,
        ):
            assert_close(found, gradient)


@needs_compiled
@pytest.mark.host
def test_equal_to_the_compiled_ones() -> None:
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    geometry = (STRIDE, PADDING, DILATION, 2, 2)
    input, weight, offset, mask, bias = some(dtype=torch.float32)
    assert_close(
        deform_conv2d(input, offset, weight, *geometry), ours()(input, weight, offset)
    )
    assert_close(
        modulated_deform_conv2d(input, offset, mask, weight, bias, *geometry),
        ours()(input, weight, offset, mask, bias),
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_cuda_gives_what_the_processor_gives() -> None:
    tensors = [item.requires_grad_() for item in some()]
    output = ours()(*(item.cuda() for item in tensors))
    expected = ours()(*tensors)
    assert_close(output.cpu(), expected)
    for found, gradient in zip(
        torch.autograd.grad(output.square().sum(), tensors),
        torch.autograd.grad(expected.square().sum(), tensors),
        strict=True,
    ):
        assert_close(found, gradient)


@VERSIONS
def test_an_offset_that_is_nan_gives_nan_at_its_pixel_and_no_crash(
    masked: bool,
) -> None:
    input, weight, offset, *rest = some()
    rest = rest if masked else []
    expected = ours()(input, weight, offset, *rest)
    offset[0, 3, 2, 1] = float('nan')
    tensors = [each.requires_grad_() for each in (input, weight, offset, *rest)]
    output = ours()(*tensors)
    spoiled = torch.zeros_like(output, dtype=torch.bool)
    spoiled[0, :, 2, 1] = True
    assert output[spoiled].isnan().all()
    assert_close(output[~spoiled], expected[~spoiled], rtol=0, atol=0)
    torch.autograd.grad(output.nansum(), tensors)  # backward reads no further either
