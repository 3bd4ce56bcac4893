"""Heads of TridentNet look at three copies of each image: refused by name."""

from typing import Any
from unittest import mock

import pytest
from mmengine.registry import init_default_scope

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.registry import MODELS
from kd_plugins.views import Probe
from tests.distillers.tiny import config, distiller, losses_of, teacher_of
from tests.views.kinds import MAIN, config_of

pytestmark = pytest.mark.host
HINT = dict(type='HintLoss')
VIEWS = {
    'rpn.logits': 'the RPN',
    'rpn.deltas': 'the RPN',
    'roi.logits': 'the RoI head',
    'roi.deltas': 'the RoI head',
    'roi.features': 'the RoI head',
}
WHY = (
    'in training the model shows its heads several copies of each image, as TridentNet'
)


def trident() -> Any:
    init_default_scope('mmdet')
    return config_of(MAIN['trident'])


@pytest.mark.parametrize('view', VIEWS)
def test_views_of_heads_are_refused_at_build(view: str) -> None:
    pairs = dict(a=dict(view=view, loss=HINT))
    message = (
        rf'model\.pairs\.a\.view \(student\): {VIEWS[view]} of the student works on 3 '
        rf"images, the batch has 1: {WHY} .* compared: layer='backbone\.layer2'\.$"
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, trident(), teacher_of(trident())))


@pytest.mark.parametrize('view', VIEWS)
def test_and_else_at_the_first_step(view: str) -> None:
    pairs = dict(a=dict(view=view, loss=HINT))
    with mock.patch.object(Probe, 'check_images'):  # of a student that cannot be run
        model = distiller(pairs, trident(), teacher_of(trident()))
    message = (
        rf'model\.pairs\.a: {VIEWS[view]} of the student works on 6 images, the batch '
        rf"has 2: {WHY} .* such as layer='backbone\.layer2'\.$"
    )
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


def test_layers_behind_the_copies_are_refused_and_those_before_train() -> None:
    pairs = dict(a=dict(layer='backbone', loss=HINT))
    message = (
        r"a\.layer: of one image 'backbone' of the student gives 3 maps, .* teacher 1: "
        r".* compared: layer='backbone\.layer2'\.$"
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, trident(), teacher_of(trident())))
    pairs['a']['layer'] = 'backbone.layer2'
    model = distiller(pairs, trident(), teacher_of(trident()))
    assert losses_of(model)['loss_kd_a'] > 0


def test_a_flow_that_ends_in_copies_is_refused() -> None:
    view = dict(type='layer.flow', first='backbone.layer2', last='backbone.layer3')
    pairs = dict(a=dict(view=view, loss=dict(type='FSPLoss')))
    with pytest.raises(
        ConfigError, match=r'a\.view: a flow runs .* of the same images'
    ):
        MODELS.build(config(pairs, trident(), teacher_of(trident())))


def test_another_student_may_learn_from_it() -> None:
    pairs = dict(a=dict(view='roi.logits', loss=HINT))
    teacher = teacher_of(trident())
    model = MODELS.build(config(pairs, config_of(MAIN['two-stage']), teacher))
    assert len(model.pairs) == 1
