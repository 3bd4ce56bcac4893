"""Attention of a feature over its pixels, and over its channels."""

from torch import Tensor


def spatial_attention(feature: Tensor, temperature: float) -> Tensor:
    """Attention of each pixel, by its mean absolute activation.

    Args:
        feature: shape (N, C, H, W).
        temperature: > 0; larger is flatter.

    Returns: shape (N, 1, H, W), with a mean of 1 over the pixels.

    Example:
        >>> import torch
        >>> spatial_attention(torch.tensor([[[[0.0, 0.0, 0.0, 0.0]]]]), 0.5)
        tensor([[[[1., 1., 1., 1.]]]])
    """
    strength = feature.abs().mean(dim=1, keepdim=True)
    shares = (strength / temperature).flatten(1).softmax(dim=1)
    return (shares.shape[1] * shares).view_as(strength)


def channel_attention(feature: Tensor, temperature: float) -> Tensor:
    """Attention of each channel, by its mean absolute activation.

    Args:
        feature: shape (N, C, H, W).
        temperature: > 0; larger is flatter.

    Returns: shape (N, C, 1, 1), with a mean of 1 over the channels.
    """
    strength = feature.abs().mean(dim=(2, 3), keepdim=True)
    return strength.shape[1] * (strength / temperature).softmax(dim=1)
