"""Models of a few thousand weights that learn together."""

from typing import Any

import torch

from kd_plugins.registry import MODELS

from .tiny import faster_rcnn
from .tiny_seg import head, segmentor

KD = dict(view='roi.logits', loss=dict(type='KDLoss'))
PIXELS = dict(view='seg.logits', loss=dict(type='KDLoss'))


def steady_segmentor(base: int = 4) -> dict[str, Any]:
    """A segmentor that draws nothing while it trains."""
    steady = dict(dropout_ratio=0.0)
    return segmentor(
        base,
        head('PSPHead', 2 * base, pool_scales=(1, 2), **steady),
        auxiliary_head=head('FCNHead', base, num_convs=1, **steady) | dict(in_index=0),
    )


def peers_config(
    pairs: dict[str, Any], peers: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Two Faster R-CNNs of different widths, or others."""
    return dict(
        type='kd_plugins.MutualDistiller',
        peers=peers or dict(first=faster_rcnn(), second=faster_rcnn(base=6, fc=24)),
        pairs=pairs,
        **options,
    )


def mutual(*args: Any, **options: Any) -> Any:
    """Built and initialised, as by a run of seed 0."""
    torch.manual_seed(0)
    model = MODELS.build(peers_config(*args, **options))
    model.init_weights()
    return model.train()


def three(base: int = 4) -> dict[str, Any]:
    """Three models of one kind, which differ in their seeds."""
    return {name: faster_rcnn(base) for name in ('a', 'b', 'c')}
