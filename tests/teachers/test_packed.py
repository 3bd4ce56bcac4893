"""Prepacked weights give what a convolution gives, for every shape it meets."""

import pytest
import torch
from torch import nn

from kd_plugins.teachers.fast import can_prepack
from kd_plugins.teachers.packed import _SHAPES, PackedConv2d, is_packable

DTYPES = [
    pytest.param(
        getattr(torch, name),
        id=name,
        marks=pytest.mark.skipif(
            not can_prepack(name), reason=f'oneDNN packs no {name} here'
        ),
    )
    for name in ('float32', 'bfloat16')
]
pytestmark = pytest.mark.skipif(
    not can_prepack('float32'), reason='torch without oneDNN'
)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(
    'options',
    [
        dict(kernel_size=3, padding=1),
        dict(kernel_size=1, bias=False),
        dict(kernel_size=3, stride=2, padding=2, dilation=2),
        dict(kernel_size=3, padding=1, groups=4),
    ],
    ids=str,
)
def test_gives_what_the_convolution_gives(
    dtype: torch.dtype, options: dict[str, int]
) -> None:
    conv = nn.Conv2d(8, 12, **options).to(dtype).requires_grad_(False)
    packed = PackedConv2d(conv)
    for size in ((2, 8, 9, 7), (1, 8, 20, 20), (2, 8, 9, 7)):
        image = torch.randn(size)
        torch.testing.assert_close(packed(image), conv(image.to(dtype)))


@pytest.mark.parametrize('dtype', DTYPES)
def test_the_order_of_the_weights_changes_no_bit(dtype: torch.dtype) -> None:
    conv = nn.Conv2d(64, 64, 1).to(dtype).requires_grad_(False)
    image = torch.randn(2, 64, 16, 16)
    once, often = PackedConv2d(conv), PackedConv2d(conv)
    for side in (3, 40, 17):
        often(torch.randn(1, 64, side, side))
    assert torch.equal(once(image), often(image))


def test_no_more_shapes_are_kept_than_an_fpn_has_levels() -> None:
    packed = PackedConv2d(nn.Conv2d(3, 4, 3).requires_grad_(False))
    for side in range(8, 8 + 2 * _SHAPES):
        packed(torch.zeros(1, 3, side, side))
    assert len(packed._packed) == _SHAPES


def test_of_no_roi_it_gives_none() -> None:
    packed = PackedConv2d(nn.Conv2d(3, 4, 3).requires_grad_(False))
    assert packed(torch.zeros(0, 3, 8, 8)).shape == (0, 4, 6, 6)


@pytest.mark.parametrize(
    ('conv', 'packable'),
    [
        (nn.Conv2d(3, 4, 3), True),
        (nn.Conv2d(3, 4, 3, padding='same'), False),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode='reflect'), False),
        (nn.Conv2d(3, 4, 3).half(), False),
        (type('Other', (nn.Conv2d,), {})(3, 4, 3), False),
        (nn.Linear(3, 4), False),
    ],
)
def test_only_plain_convolutions_are_packed(conv: nn.Module, packable: bool) -> None:
    assert is_packable(conv) == packable
