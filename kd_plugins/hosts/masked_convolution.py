"""A convolution at chosen pixels, where mmcv was installed without compiling.

mmdet's guided anchoring runs one in ``eval()``: its heads are computed where an anchor
is likely. mmcv multiplies by the weights itself; what is asked for is to gather patches
and to put the results back. Neither has a gradient, in mmcv neither.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Patches around chosen pixels of an image, written into ``col``.

    Args:
        im: (1, C, H, W).
        mask_h_idx: (P,), rows of the pixels.
        mask_w_idx: (P,), their columns.
        col: (C * kernel_h * kernel_w, P).
        kernel_h: height of the patches.
        kernel_w: their width.
        pad_h: zeros above and below the image.
        pad_w: zeros on either side.
    """
    # More than is padded below and to the right, where a patch may reach beyond it.
    padded = F.pad(im[0], (pad_w, kernel_w, pad_h, kernel_h))
    rows = mask_h_idx + torch.arange(kernel_h, device=im.device)[:, None, None]
    columns = mask_w_idx + torch.arange(kernel_w, device=im.device)[:, None]
    col.copy_(padded[:, rows, columns].reshape(col.shape))


def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Columns (C, P), written into the chosen pixels of ``im`` (1, C, H, W)."""
    del height, width, channels  # those of the image
    im[0][:, mask_h_idx, mask_w_idx] = col.to(im)
