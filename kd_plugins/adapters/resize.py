"""Resize a feature map to the teacher's height and width, without parameters."""

import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.errors import ShapeError
from kd_plugins.registry import ADAPTERS


def resize_map(feature: Tensor, size: tuple[int, int] | None) -> Tensor:
    """The map at another height and width, interpolated bilinearly.

    Args:
        feature: shape (N, C, H, W), any float dtype.
        size: height and width; None keeps the map.

    Returns: shape (N, C, *size); the input if it has this size.
    Raises: ShapeError if ``feature`` is not a map.

    Example:
        >>> import torch
        >>> resize_map(torch.zeros(1, 2, 8, 8), (4, 6)).shape
        torch.Size([1, 2, 4, 6])
    """
    if feature.dim() != 4:
        raise ShapeError(f'feature must be (N, C, H, W), got {tuple(feature.shape)}.')
    if size is None or tuple(feature.shape[2:]) == tuple(size):
        return feature
    return F.interpolate(feature, size, mode='bilinear', align_corners=False)


@ADAPTERS.register_module()
class ResizeAdapter(nn.Module):
    """Resize maps of equal channels; see :func:`resize_map`."""

    def forward(self, feature: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The map at the teacher's ``size``."""
        return resize_map(feature, size)
