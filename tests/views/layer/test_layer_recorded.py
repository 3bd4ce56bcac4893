"""Layers that give nothing to learn from, found at once or in the first step."""

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.registry import MODELS
from tests.distillers.tiny import (
    config,
    distiller,
    faster_rcnn,
    losses_of,
    mask_rcnn,
    teacher_of,
)


def pair(layer: Any, **options: Any) -> dict[str, Any]:
    return dict(layer=layer, loss=dict(type='HintLoss'), **options)


def refused(message: str, pairs: Any, **options: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, **options))


def test_a_layer_that_never_fires_is_found_before_training() -> None:
    refused(
        r"model.pairs.a.layer: 'roi_head.mask_head' of the student never fires",
        dict(a=pair('roi_head.mask_head')),
        student=mask_rcnn(),
        teacher=teacher_of(mask_rcnn()),
    )


def test_a_layer_that_fires_in_the_dry_run_only_is_found_at_the_first_loss() -> None:
    model = distiller(dict(a=pair('backbone.layer3')))
    model.student.forward = lambda *args, **kwargs: {}
    message = "layer 'backbone.layer3' of the student never fired while it computed"
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


def test_a_layer_that_fires_more_often_in_training_is_an_error() -> None:
    model = distiller(dict(a=pair('backbone.layer1.0')))
    backbone = model.student.backbone
    first = backbone.forward
    backbone.forward = lambda inputs: [first(inputs), first(inputs)][0]
    message = 'student gave 2 tensors.*teacher 1, where 1 were expected. Choose levels'
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


def test_what_training_alone_overwrites_is_an_error() -> None:
    model = distiller(dict(a=pair('backbone.layer1')))
    last = model.student.backbone.layer2

    def double(module: Any, args: Any) -> None:  # as a dropout in place would
        args[0].mul_(2)

    last.register_forward_pre_hook(double)
    message = (
        r"what layer 'backbone.layer1' of the student gave was written into while it "
        'computed its losses.*Set inplace=False there, or choose that layer'
    )
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


def test_without_gradients_no_pair_is_dead() -> None:
    model = distiller(dict(a=pair('neck')))
    with torch.no_grad():
        assert losses_of(model)['loss_kd_a'] > 0
    model.student.requires_grad_(False)
    with pytest.raises(DistillationError, match='carries no gradient'):
        losses_of(model)


def test_frozen_layers_are_a_dead_pair() -> None:
    model = distiller(dict(a=pair('backbone.layer1')))
    for part in ('conv1', 'bn1', 'layer1'):  # after it was built
        model.student.backbone.get_submodule(part).requires_grad_(False)
    message = (
        r'model.pairs.a: backbone.layer1 of the student carries no gradient: it is '
        r'frozen \(frozen_stages, requires_grad\)'
    )
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


def test_blocks_with_checkpointing_hide_their_inside() -> None:
    student = faster_rcnn(backbone=dict(with_cp=True))
    refused(
        r"'backbone.layer1.0.conv1' lies inside 'backbone.layer1.0', which runs with "
        r'activation checkpointing \(with_cp=True\)',
        dict(a=pair('backbone.layer1.0.conv1')),
        student=student,
    )
    model = MODELS.build(config(dict(a=pair('backbone.layer1')), student=student))
    assert len(model.pairs) == 1
