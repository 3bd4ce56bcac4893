"""Which single weights of a model go: scores of weights, and masks of scores."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ...checks import check_float
from ...errors import ConfigError

Masks = dict[str, Tensor]


def magnitude_scores(weight: Tensor) -> Tensor:
    """Absolute values: removed over all layers at once, this is global L1 pruning."""
    return weight.detach().abs()


def lamp_scores(weight: Tensor) -> Tensor:
    r"""Layer-adaptive magnitude: a weight's share of those that are no smaller.

    .. math:: s(u) = \frac{W_u^2}{\sum_{v: W_v^2 \ge W_u^2} W_v^2}

    The largest weight of a layer has 1, so that no layer is emptied.

    Args:
        weight: of one layer, any shape.

    Returns: scores of that shape, from 0 to 1; 0 for weights that are 0.
    Source: Lee et al., Layer-adaptive sparsity for the Magnitude-based Pruning, ICLR
        2021, https://arxiv.org/abs/2010.07611, eq. 1 there. Of equal weights, each
        counts those before it in the order of the layer alone.

    Example:
        >>> lamp_scores(torch.tensor([1.0, -2.0, 3.0]))  # 1/14, 4/13, 9/9
        tensor([0.0714, 0.3077, 1.0000])
    """
    squares = weight.detach().double().square().flatten()
    order = squares.argsort(stable=True)
    ascending = squares[order]
    larger = ascending.flip(0).cumsum(0).flip(0)  # itself and all after it
    scores = torch.empty_like(ascending)
    scores[order] = torch.where(larger > 0, ascending / larger, 0.0)
    return scores.to(weight.dtype).view_as(weight)


def masks_of(scores: Mapping[str, Tensor], sparsity: float) -> Masks:
    """Masks that remove the least scores of all layers together.

    Args:
        scores: by name, of any shapes.
        sparsity: share of all weights that goes; ``floor(sparsity * total)`` of them,
            of equal ones those that come first.

    Returns: of each name a mask of its shape, 1 keeps and 0 drops.
    Raises: ConfigError for a sparsity that is not from 0 to below 1.

    Example:
        >>> masks_of({'a': torch.tensor([3.0, 1.0]), 'b': torch.tensor([2.0])}, 0.67)
        {'a': tensor([1., 0.]), 'b': tensor([0.])}
    """
    if check_float('sparsity', sparsity) >= 1:
        raise ConfigError(f'sparsity must be below 1, got {sparsity:g}.')
    flat = torch.cat([each.flatten().float() for each in scores.values()])
    # Of a share such as 1 - 0.8**2, rounding may not cost a weight.
    number = int(sparsity * len(flat) + 1e-9)
    kept = torch.ones_like(flat)
    kept[flat.argsort(stable=True)[:number]] = 0
    parts = kept.split([each.numel() for each in scores.values()])
    return {
        name: part.view_as(each)
        for (name, each), part in zip(scores.items(), parts, strict=True)
    }


def sparsity_of(masks: Mapping[str, Tensor]) -> float:
    """Share of the weights that masks remove."""
    total = sum(each.numel() for each in masks.values())
    return 1 - sum(float(each.sum()) for each in masks.values()) / total
