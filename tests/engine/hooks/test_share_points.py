"""Points go where the loss feels the weights."""

from pathlib import Path
from typing import Any

import pytest

from kd_plugins.engine.hooks.share_points import point_layers
from kd_plugins.errors import ConfigError

from ...distillers.runs import train
from ...distillers.tiny import faster_rcnn

HOOK = [dict(type='kd_plugins.SharePointsHook', batches=2)]


def quantized(points: int = 8) -> dict[str, Any]:
    weights = dict(type='PointWeights', points=points, bucket_size=None)
    return dict(
        type='kd_plugins.Quantized',
        model=faster_rcnn(),
        weights=weights,
        activations=None,
    )


def test_a_layer_that_the_loss_does_not_read_keeps_half(tmp_path: Path) -> None:
    model = quantized()
    model['model'].rpn_head.loss_bbox.loss_weight = 0.0
    run = train(model, tmp_path, custom_hooks=HOOK)
    layers = point_layers(run.model)
    numbers = {name: len(item.weight_quantizer.points) for name, item in layers.items()}
    assert sum(numbers.values()) == 8 * len(layers)
    assert numbers['rpn_head.rpn_reg'] == 4
    assert max(numbers.values()) > 8
    # They learn, and the weights do not.
    assert all(item.weight_quantizer.is_observed for item in layers.values())
    assert not any(item.weight.requires_grad for item in layers.values())


def test_a_model_without_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='got no layer with points'):
        train(faster_rcnn(), tmp_path / 'plain', custom_hooks=HOOK)
    with pytest.raises(ConfigError, match=r'got \[3\] points'):
        train(quantized(points=3), tmp_path / 'few', custom_hooks=HOOK)
