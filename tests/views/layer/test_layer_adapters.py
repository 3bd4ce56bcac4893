"""What student and teacher lack is proposed, and the proposal works when pasted."""

from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.tiny import (
    config,
    distiller,
    faster_rcnn,
    losses_of,
    teacher_of,
)

WIDE = teacher_of(faster_rcnn(base=8, width=16))


def pair(layer: Any, **options: Any) -> dict[str, Any]:
    return dict(layer=layer, loss=dict(type='HintLoss'), **options)


def both(student: str, teacher: str) -> dict[str, str]:
    return dict(student=student, teacher=teacher)


def refused(message: str, pairs: Any, **options: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, **options))


def test_proposed_conv_adapter_works_when_pasted() -> None:
    message = (
        r'model.pairs.a: student \(1, 8, 32, 32\) and teacher \(1, 16, 32, 32\) differ '
        r'in channels at neck\[0\]. Add to this pair: adapter=dict\(type='
        r"'ConvAdapter', student_channels=8, teacher_channels=16\)."
    )
    refused(message, dict(a=pair('neck')), teacher=WIDE)
    proposed = dict(type='ConvAdapter', student_channels=8, teacher_channels=16)
    model = distiller(dict(a=pair('neck', adapter=proposed)), teacher=WIDE)
    assert losses_of(model)['loss_kd_a'] > 0


def test_where_levels_differ_the_proposal_leaves_the_channels_out() -> None:
    message = r"Add to this pair: adapter=dict\(type='ConvAdapter'\).$"
    refused(message, dict(a=pair('backbone')), teacher=WIDE)
    adapter = dict(type='ConvAdapter')
    model = distiller(dict(a=pair('backbone', adapter=adapter)), teacher=WIDE)
    assert losses_of(model)['loss_kd_a'] > 0


def test_proposed_resize_works_when_pasted() -> None:
    layer = both('backbone.layer2.0.conv1', 'backbone.layer3.0.conv1')
    teacher = teacher_of(faster_rcnn(base=2))
    message = (
        r'student \(1, 8, 16, 16\) and teacher \(1, 8, 8, 8\) differ in size at '
        r'backbone.layer2.0.conv1 / backbone.layer3.0.conv1. Add to this pair: '
        r"adapter=dict\(type='ResizeAdapter'\)"
    )
    refused(message, dict(a=pair(layer)), teacher=teacher)
    adapter = dict(type='ResizeAdapter')
    model = distiller(dict(a=pair(layer, adapter=adapter)), teacher=teacher)
    assert losses_of(model)['loss_kd_a'] > 0


def test_levels_that_differ_in_size_and_channels_need_an_adapter_for_both() -> None:
    layer = both('backbone', 'backbone')
    levels = dict(student=[0, 0], teacher=[1, 0])
    message = r"differ in size at backbone\[0\].*adapter=dict\(type='ConvAdapter'\).$"
    teacher = teacher_of(faster_rcnn(base=2))
    refused(message, dict(a=pair(layer, levels=levels)), teacher=teacher)
    adapted = pair(layer, levels=levels, adapter=dict(type='ConvAdapter'))
    assert losses_of(distiller(dict(a=adapted), teacher=teacher))['loss_kd_a'] > 0


@pytest.mark.parametrize(
    ('adapter', 'message'),
    [
        (
            dict(type='ConvAdapter', student_channels=4),
            r'model.pairs.a.adapter.student_channels: is 4, but neck\[0\] has 8 '
            'channels. Set student_channels=8, or leave it out',
        ),
        (
            dict(type='ResizeAdapter'),
            r'model.pairs.a.adapter at neck\[0\]: ResizeAdapter makes \(1, 8, 32, 32\) '
            r'of the student, the teacher has \(1, 16, 32, 32\). Use adapter='
            r"dict\(type='ConvAdapter', student_channels=8, teacher_channels=16",
        ),
        (
            dict(type='LinearAdapter'),
            r'model.pairs.a.adapter at neck\[0\]: LinearAdapter expects \(R, 8\)',
        ),
        (
            dict(type='ConvAdaptr'),
            "model.pairs.a.adapter.type: no 'ConvAdaptr'. Close: 'ConvAdapter'",
        ),
        (
            dict(type='ConvAdapter', kernl_size=3),
            "model.pairs.a.adapter: ConvAdapter has no argument 'kernl_size'. "
            "Close: 'kernel_size'",
        ),
        (
            dict(type='ConvAdapter', kernel_size=2),
            'adapter: kernel_size must be 1 or 3',
        ),
        ('ConvAdapter', "model.pairs.a.adapter: must be a dict with 'type'"),
        (dict(), 'model.pairs.a.adapter: needs a type'),
    ],
)
def test_bad_adapters(adapter: Any, message: str) -> None:
    refused(message, dict(a=pair('neck', adapter=adapter)), teacher=WIDE)
