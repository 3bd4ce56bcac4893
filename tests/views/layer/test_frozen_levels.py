"""Levels that no parameter leads to are refused at build, with those that train."""

import re

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.tiny import config, distiller, faster_rcnn, losses_of, teacher_of


@pytest.mark.parametrize('teacher_stages', [-1, 1])
def test_a_frozen_level_is_known_at_build(teacher_stages: int) -> None:
    student = faster_rcnn(backbone=dict(frozen_stages=1))
    teacher = teacher_of(faster_rcnn(backbone=dict(frozen_stages=teacher_stages)))
    pairs = dict(a=dict(layer='backbone', loss=dict(type='HintLoss')))
    message = (
        "model.pairs.a.levels: level 0 of 'backbone' of the student does not train: "
        'all parameters before it are frozen (frozen_stages, requires_grad), or the '
        'model detaches it. Choose those that train: levels=[1, 2].'
    )
    with pytest.raises(ConfigError, match=f'^{re.escape(message)}$'):
        MODELS.build(config(pairs, student, teacher))
    chosen = dict(a=pairs['a'] | dict(levels=[1, 2]))
    assert losses_of(distiller(chosen, student, teacher))['loss_kd_a'] > 0


def test_a_layer_that_is_frozen_altogether_names_others() -> None:
    student = faster_rcnn(backbone=dict(frozen_stages=1))
    pairs = dict(a=dict(layer='backbone.layer1', loss=dict(type='HintLoss')))
    message = (
        r"a\.layer: 'backbone\.layer1' of the student does not train: .* be compared"
        r": .*layer='backbone\.layer3', layer='neck'\.$"
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, student))


def test_a_flow_of_frozen_layers_is_refused() -> None:
    student = faster_rcnn(backbone=dict(frozen_stages=2))
    view = dict(type='layer.flow', first='backbone.layer1', last='backbone.layer2')
    pairs = dict(a=dict(view=view, loss=dict(type='FSPLoss')))
    message = "neither 'backbone.layer1' nor 'backbone.layer2' of the student trains"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, student))
    view['last'] = 'backbone.layer3'
    assert losses_of(distiller(pairs, student))['loss_kd_a'] > 0
