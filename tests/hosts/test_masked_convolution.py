"""The masked convolution of guided anchoring: the plain one, at the chosen pixels."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from kd_plugins.hosts.extension import compiled_operators
from kd_plugins.hosts.masked_convolution import (
    masked_col2im_forward,
    masked_im2col_forward,
)


@pytest.mark.parametrize(
    ('kernel', 'padding'), [((3, 3), (1, 1)), ((1, 1), (0, 0)), ((3, 5), (1, 2))]
)
def test_patches_are_those_of_unfold(
    kernel: tuple[int, int], padding: tuple[int, int]
) -> None:
    image = torch.rand(1, 2, 5, 6)
    rows, columns = torch.tensor([0, 4, 2, 4]), torch.tensor([0, 5, 3, 0])
    patches = torch.full((2 * kernel[0] * kernel[1], 4), torch.nan)
    masked_im2col_forward(image, rows, columns, patches, *kernel, *padding)
    every = F.unfold(image, kernel, padding=padding)[0]
    assert torch.equal(patches, every[:, rows * 6 + columns])


def test_a_patch_beyond_the_padding_is_zero_there() -> None:
    image, corner = torch.ones(1, 1, 2, 2), torch.tensor([1])
    patches = torch.full((9, 1), torch.nan)
    masked_im2col_forward(image, corner, corner, patches, 3, 3, 0, 0)
    assert patches.flatten().tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_columns_go_to_their_pixels_and_the_others_stay() -> None:
    image = torch.zeros(1, 2, 2, 3)
    values = torch.tensor([[1.0, 2], [3, 4]])
    places = torch.tensor([1, 0]), torch.tensor([2, 0])
    masked_col2im_forward(values, *places, image, height=2, width=3, channels=2)
    assert image[0, 0].tolist() == [[2, 0, 0], [0, 0, 1]]
    assert image[0, 1].tolist() == [[4, 0, 0], [0, 0, 3]]


@pytest.mark.skipif(compiled_operators(), reason='mmcv has its own, and for CUDA alone')
@pytest.mark.filterwarnings('ignore:This overload of addmm is deprecated')
@pytest.mark.host
def test_layer_of_mmcv_is_the_convolution_where_the_mask_is() -> None:
    from mmcv.ops import MaskedConv2d

    layer = MaskedConv2d(2, 4, 3, padding=1)
    image, mask = torch.rand(1, 2, 6, 7), torch.rand(1, 6, 7) > 0.6
    with torch.no_grad():
        assert_close(layer(image, mask), layer(image) * mask)
        nothing = torch.zeros_like(mask)
        assert layer(image, nothing).abs().sum() == 0
