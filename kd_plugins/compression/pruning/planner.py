"""Prune, then distill: rounds of pruning, and a student as wide as what is left."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...checks import check_float
from ...errors import ConfigError
from ...host_types import HostModule
from .groups import channel_groups, fit_roi_extractors
from .trace import trace

_ROUND = 0.2  # of what is left, that a round removes
_WEIGHTS = (nn.modules.conv._ConvNd, nn.Linear)


def sparsity_after(rounds: int, share: float = _ROUND) -> float:
    """Share of the weights that is gone after rounds that each remove a share.

    Args:
        rounds: number of them.
        share: of what is left, that a round removes.

    Example:
        >>> [round(sparsity_after(rounds), 4) for rounds in (1, 2, 4, 7)]
        [0.2, 0.36, 0.5904, 0.7903]
    """
    return float(1 - (1 - share) ** rounds)


def rounds_for(sparsity: float, share: float = _ROUND) -> int:
    """Number of rounds after which the sparsity is nearest to the wanted one.

    Args:
        sparsity: from 0 to below 1.
        share: that a round removes of what is left, above 0 and below 1.

    Raises: ConfigError for a sparsity that is not in that range.

    Example:
        >>> rounds_for(0.8), rounds_for(0.36), rounds_for(0.59)
        (7, 2, 4)
    """
    if check_float('sparsity', sparsity) >= 1:
        raise ConfigError(f'sparsity must be below 1, got {sparsity:g}.')
    rounds = 0
    while sparsity_after(rounds + 1, share) < sparsity:
        rounds += 1
    before, after = (sparsity_after(each, share) for each in (rounds, rounds + 1))
    return rounds if sparsity - before <= after - sparsity else rounds + 1


def planned_width(nonzero: int, kernel: int, inputs: int) -> int:
    r"""Channels of a dense layer that has about as many weights as a sparse one.

    .. math:: c_l = \mathrm{round}\left(\frac{nnz_l}{k_l^2 \, c_{l-1}}\right)

    Args:
        nonzero: weights that are left in the layer of the teacher.
        kernel: weights of one input channel, k * k.
        inputs: channels that the planned layer reads; 1 of a depthwise convolution.

    Returns: at least 1.
    Source: Park and No, Prune Your Model Before Distill It, ECCV 2022,
        https://arxiv.org/abs/2109.14960. The rule is inferred from the paper's
        description and its released plans, which do not state it.

    Example:
        >>> planned_width(1431, 3 * 3, 3)
        53
    """
    return max(1, round(nonzero / (kernel * inputs)))


def plan_student(
    teacher: HostModule, images: Tensor, parts: Sequence[str] = ('backbone', 'neck')
) -> HostModule:
    """A student of the teacher's own kind, as wide as the weights that it has left.

    Layer by layer, as the model runs: a layer that is not planned yet counts with its
    own width. Layers whose channels are added to each other take the largest width of
    them; none becomes wider than it was. Of an unpruned teacher it has the same widths.

    Args:
        teacher: with zeros among its weights; it stays as it is.
        images: (1, 3, H, W), preprocessed, to trace it with.
        parts: of the model, whose layers are planned.

    Returns: a narrower model, whose weights mean nothing.
    Raises: ConfigError where torch-pruning is not installed.
    Source: as of :func:`planned_width`.
    """
    planned: HostModule = copy.deepcopy(teacher).eval()
    names = {layer: name for name, layer in planned.named_modules()}
    nonzero: dict[nn.Module, int] = {
        layer: int(layer.weight.count_nonzero())
        for layer in planned.modules()
        if isinstance(layer, _WEIGHTS)
    }
    order = _order_of(planned, images)
    with channel_groups(planned, images) as graph:
        roots: list[tuple[int, int, Any, list[nn.Module]]] = []
        for group in graph.groups():
            planned_layers: list[nn.Module] = [
                layer
                for layer in graph.outputs_of(group)
                if layer in nonzero and names[layer].partition('.')[0] in parts
            ]
            if planned_layers:
                first = min(order.get(layer, len(order)) for layer in planned_layers)
                roots.append((first, len(roots), group, planned_layers))
        for _, _, group, layers in sorted(roots, key=lambda each: each[:2]):
            graph.narrow(group, max(_width(layer, nonzero[layer]) for layer in layers))
    fit_roi_extractors(planned, images)
    return planned


def _width(layer: Any, nonzero: int) -> int:
    """Of a layer that reads as many channels as it has now."""
    if isinstance(layer, nn.Linear):
        return planned_width(nonzero, 1, layer.in_features)
    kernel = 1
    for side in layer.kernel_size:
        kernel *= side
    return planned_width(nonzero, kernel, layer.in_channels // layer.groups)


def _order_of(model: HostModule, images: Tensor) -> dict[nn.Module, int]:
    """When each layer runs first."""
    order: dict[nn.Module, int] = {}

    def note(layer: nn.Module, _inputs: Any) -> None:
        order.setdefault(layer, len(order))

    handles = [
        layer.register_forward_pre_hook(note)
        for layer in model.modules()
        if isinstance(layer, _WEIGHTS)
    ]
    try:
        with torch.no_grad():
            trace(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return order
