"""Deformable attention in place of the compiled one: by hand, and against autograd."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.hosts.deformable_attention import (
    ms_deform_attn_backward,
    ms_deform_attn_forward,
)

pytestmark = pytest.mark.host
SHAPES = torch.tensor([[2, 3], [1, 2]])
STARTS = torch.tensor([0, 6])


def some(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Value of two levels and heads, places of three queries, and their weights."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 8, 2, 3, generator=generator, dtype=torch.float64)
    places = torch.rand(2, 3, 2, 2, 2, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(2, 3, 2, 2, 2, generator=generator, dtype=torch.float64)
    return [item.to(dtype) for item in (value, places, weights)]


def attend(value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    return ms_deform_attn_forward(value, SHAPES, STARTS, places, weights, 64)


def by_hand(value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """Cell by cell: bilinear between the centres of the cells, 0 outside."""
    images, queries, heads, levels, points = weights.shape
    result = torch.zeros(images, queries, heads, value.shape[-1], dtype=value.dtype)
    for n, q, h, level, point in torch.cartesian_prod(
        *(torch.arange(size) for size in (images, queries, heads, levels, points))
    ).tolist():
        height, width = SHAPES[level].tolist()
        x, y = (places[n, q, h, level, point] * torch.tensor([width, height])) - 0.5
        for row in range(height):
            for column in range(width):
                near = (1 - (y - row).abs()).clamp(min=0)
                near = near * (1 - (x - column).abs()).clamp(min=0)
                cell = value[n, STARTS[level] + row * width + column, h]
                result[n, q, h] += weights[n, q, h, level, point] * near * cell
    return result.flatten(2)


def test_values_cell_by_cell() -> None:
    assert_close(attend(*some()), by_hand(*some()))


def test_gradients_are_those_of_the_sum_cell_by_cell() -> None:
    tensors = [item.requires_grad_() for item in some()]
    expected = torch.autograd.grad(by_hand(*tensors).square().sum(), tensors)
    output = attend(*some())
    written = [torch.zeros_like(item) for item in tensors]
    value, *others = some()
    arguments = (value, SHAPES, STARTS, *others, 2 * output, *written, 64)
    ms_deform_attn_backward(*arguments)
    for found, gradient in zip(written, expected, strict=True):
        assert_close(found, gradient)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded(dtype: torch.dtype) -> None:
    tensors = some(dtype)
    exact = attend(*(item.float() for item in tensors))
    assert torch.equal(attend(*tensors), exact.to(dtype))
    written = [torch.zeros_like(item) for item in tensors]
    value, *others = tensors
    ms_deform_attn_backward(
        value, SHAPES, STARTS, *others, exact.to(dtype), *written, 1
    )
    assert all(bool(item.isfinite().all()) and item.abs().sum() > 0 for item in written)


def test_function_of_mmcv_takes_them() -> None:
    """As the host calls it on CUDA: forward and backward, by name and by place."""
    from mmcv.ops.multi_scale_deform_attn import (
        MultiScaleDeformableAttnFunction,
        ext_module,
    )

    from kd_plugins.hosts.extension import compiled_operators

    if compiled_operators():
        pytest.skip('mmcv has its own compiled operators')
    assert ext_module.ms_deform_attn_forward is ms_deform_attn_forward
    tensors: list[Any] = [item.requires_grad_() for item in some()]
    value, places, weights = tensors
    function = MultiScaleDeformableAttnFunction.apply
    output = function(value, SHAPES, STARTS, places, weights, 64)
    found = torch.autograd.grad(output.square().sum(), tensors)
    expected = torch.autograd.grad(by_hand(*tensors).square().sum(), tensors)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)
