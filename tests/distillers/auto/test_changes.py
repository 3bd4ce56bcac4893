"""Entries beside ``type='auto'`` are merged by name, as configs inherit."""

from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers import tiny, tiny_dense
from tests.distillers.auto.models import MODELS_OF, auto

STUDENT, TEACHER = MODELS_OF['faster_rcnn']


def chosen(**changes: Any) -> dict[str, Any]:
    cfg = auto(STUDENT(), TEACHER(), dict(type='auto', **changes))
    pairs: dict[str, Any] = MODELS.build(cfg).choice.pairs
    return pairs


def refused(message: str, **changes: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(**changes)


def test_a_key_is_changed_and_the_rest_stays() -> None:
    pairs = chosen(logits=dict(loss=dict(loss_weight=dict(share=0.3))))
    assert pairs['logits']['loss'] == dict(
        type='NKDLoss', loss_weight=dict(type='GradientShare', share=0.3)
    )
    assert pairs['features'] == chosen()['features']


def test_none_removes_an_entry() -> None:
    assert list(chosen(features=None)) == ['logits']


def test_what_other_models_would_have_may_be_removed() -> None:
    assert list(chosen(boxes=None)) == ['features', 'logits']


def test_an_entry_is_replaced_whole_where_it_says_so() -> None:
    loss = dict(_delete_=True, type='KDLoss', temperature=2.0)
    assert chosen(logits=dict(loss=loss))['logits'] == dict(
        view='roi.logits', loss=dict(type='KDLoss', temperature=2.0)
    )


def test_another_layer_has_the_adapters_that_it_needs() -> None:
    pair = chosen(features=dict(layer='backbone', levels=[0]))['features']
    assert pair['adapter'] == dict(type='ConvAdapter')
    assert pair['levels'] == [0]


def test_a_new_entry_is_added() -> None:
    mine = dict(view='rpn.logits', loss=dict(type='KDLoss'))
    assert chosen(mine=mine)['mine'] == mine


@pytest.mark.parametrize('change', [None, dict(loss=dict(loss_weight=1.0))])
def test_a_misspelt_name_has_its_nearest(change: Any) -> None:
    refused(
        r"model\.pairs\.feature: 'auto' chose no pair 'feature'\. Close: 'features'\.",
        feature=change,
    )


def test_a_change_of_what_was_left_out_says_why_it_was() -> None:
    refused(
        r"no pair 'boxes'\. .* A new one needs 'layer' or 'view'\.$",
        boxes=dict(loss=dict(loss_weight=1.0)),
    )
    deep = tiny_dense.retinanet(num_classes=5)
    pairs = dict(type='auto', logits=dict(loss=dict(loss_weight=1.0)))
    with pytest.raises(ConfigError, match=r'Left out: logits .*3 classes.*5'):
        MODELS.build(auto(tiny_dense.retinanet(), deep, pairs))


def test_a_faulty_change_is_told_as_of_any_pair() -> None:
    refused(
        r"model\.pairs\.logits\.loss: NKDLoss has no argument 'temprature'",
        logits=dict(loss=dict(temprature=1.0)),
    )
    refused(r'model\.pairs\.logits: must be a dict', logits='KDLoss')


def test_several_teachers_share_their_weight_by_name() -> None:
    teachers = dict(a=tiny.teacher_of(TEACHER()), b=tiny.teacher_of(STUDENT()))
    cfg = tiny.config('auto', STUDENT(), teachers)
    pairs = MODELS.build(cfg).choice.pairs
    assert list(pairs) == ['features_a', 'logits_a', 'features_b', 'logits_b']
    assert [pair['teacher'] for pair in pairs.values()] == ['a', 'a', 'b', 'b']
    shares = [pair['loss']['loss_weight']['share'] for pair in pairs.values()]
    assert shares == [2.0, 0.5, 2.0, 0.5]


def test_one_of_several_teachers_that_teaches_nothing_is_named() -> None:
    from tests.distillers import tiny_seg

    student = tiny.faster_rcnn()
    other = tiny_seg.segmentor()
    other['backbone'].update(in_channels=3, out_indices=(0, 1))
    student['backbone']['frozen_stages'] = 3
    teachers = dict(a=tiny.teacher_of(TEACHER()), b=tiny.teacher_of(other))
    message = r"'auto' finds nothing to compare with teacher 'b'"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(tiny.config('auto', student, teachers))
