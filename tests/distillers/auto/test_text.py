"""The text of a choice is valid Python, and in place of 'auto' gives the same run."""

from typing import Any

import pytest
import torch

from kd_plugins.distillers.auto.text import pairs_text
from kd_plugins.losses import PKDLoss
from kd_plugins.registry import MODELS
from kd_plugins.views import RoILogitsView
from tests.distillers import tiny, tiny_dense
from tests.distillers.auto.models import MODELS_OF, auto, built, train


def pasted(text: str) -> Any:
    """What a config has that was written so."""
    return eval(f'dict({text})')['pairs']


@pytest.mark.parametrize('kind', MODELS_OF)
def test_pasted_in_place_of_auto_it_gives_the_same_run_bit_for_bit(kind: str) -> None:
    student, teacher = (build() for build in MODELS_OF[kind])
    chosen = built(auto(student, teacher))
    by_hand = built(auto(student, teacher, pasted(chosen.choice.text())))
    assert chosen.summary().startswith(by_hand.summary())
    logs, same_logs = train(chosen), train(by_hand)
    assert len(logs) == 2
    for log, same_log in zip(logs, same_logs, strict=True):
        assert log.keys() == same_log.keys()
        assert all(torch.equal(log[key], same_log[key]) for key in log)
    state, same_state = chosen.state_dict(), by_hand.state_dict()
    assert state.keys() == same_state.keys()
    assert all(torch.equal(state[key], same_state[key]) for key in state)
    assert any(key.startswith('adapters.') for key in state) == (
        kind in ('faster_rcnn', 'rtmdet', 'deformable_detr')
    )


def test_of_several_teachers_and_changes_too() -> None:
    pairs = dict(type='auto', features_b=dict(per_level=True), logits_a=None)
    teachers = dict(
        a=tiny.teacher_of(tiny.faster_rcnn(8, 16)), b=tiny.teacher_of(tiny_dense.gfl())
    )
    cfg = tiny.config(pairs, tiny.faster_rcnn(), teachers)
    chosen = built(cfg)
    by_hand = built(cfg | dict(pairs=pasted(chosen.choice.text())))
    logs, same_logs = train(chosen), train(by_hand)
    assert 'loss_kd_features_b_2' in logs[0]
    assert 'loss_kd_logits_a' not in logs[0]
    for log, same_log in zip(logs, same_logs, strict=True):
        assert all(torch.equal(log[key], same_log[key]) for key in log)


def test_the_summary_ends_with_it() -> None:
    student, teacher = (build() for build in MODELS_OF['faster_rcnn'])
    model = MODELS.build(auto(student, teacher))
    assert model.summary().endswith(
        'The same as text, to be copied and changed:\n'
        'pairs=dict(\n'
        '    features=dict(\n'
        "        layer='neck',\n"
        "        loss=dict(type='PKDLoss', loss_weight=dict(type='GradientShare', "
        'share=4.0)),\n'
        "        adapter=dict(type='ConvAdapter')),\n"
        '    logits=dict(\n'
        "        view='roi.logits',\n"
        "        loss=dict(type='NKDLoss', loss_weight=dict(type='GradientShare', "
        'share=1.0))))'
    )


@pytest.mark.parametrize(
    'pairs',
    [
        dict(),
        dict(a=dict(levels=[0, 1], layer=dict(student='neck', teacher='neck.x'))),
        dict(a=dict(x=None, y=True, z=(1,), w=('b', 2.5)), b=dict()),
        dict(a={'class': 1}),
        dict(a={'no name': 1, 'class': 2, 3: [dict(x=1)]}),
        {f'a{n}': dict(loss=dict(type='x' * 30, y='y' * 40)) for n in range(3)},
    ],
)
def test_any_configuration_comes_back(pairs: Any) -> None:
    assert pasted(pairs_text(pairs)) == pairs


def test_classes_of_a_pure_python_config_are_named() -> None:
    pair = dict(view=dict(type=RoILogitsView), loss=dict(type=PKDLoss))
    text = pairs_text(dict(a=pair))
    assert pasted(text)['a'] == dict(
        view=dict(type='roi.logits'), loss=dict(type='PKDLoss')
    )
