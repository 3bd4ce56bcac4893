"""Levels that lie apart are paired by their size, not resized to one another."""

from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.views.layer.levels import levels_of_equal_size
from tests.distillers.tiny import config, distiller, faster_rcnn, losses_of, teacher_of
from tests.distillers.tiny_dense import retinanet

NECK = dict(a=dict(layer='neck', loss=dict(type='HintLoss')))
CHOICE = r'levels=dict\(student=\[0, 1\], teacher=\[1, 2\]\)'


def from_p3(levels: int = 3) -> dict[str, Any]:
    """RetinaNet on strides 8, 16, 32, ...; those of the tiny others begin at 4."""
    model = retinanet()
    model['neck'] = model['neck'] | dict(
        start_level=1, add_extra_convs='on_output', num_outs=levels
    )
    strides = [8 * 2**level for level in range(levels)]
    model['bbox_head']['anchor_generator']['strides'] = strides
    return model


def test_levels_of_one_size_are_proposed_and_work() -> None:
    teacher = teacher_of(faster_rcnn())
    message = (
        r'model\.pairs\.a: the levels of student and teacher are shifted: at neck\[0'
        r'\] student \(1, 8, 16, 16\) meets teacher \(1, 8, 32, 32\), and none is as '
        rf'large as its counterpart\. Compare those of one size: {CHOICE}\.$'
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(NECK, from_p3(), teacher))
    levels = dict(student=[0, 1], teacher=[1, 2])
    model = distiller(dict(a=NECK['a'] | dict(levels=levels)), from_p3(), teacher)
    assert [spec.scale_factor for spec in model.pairs[0].tensors] == [(1.0, 1.0)] * 2
    assert losses_of(model)['loss_kd_a'] > 0


def test_the_shift_is_named_before_the_channels() -> None:
    with pytest.raises(ConfigError, match=f'are shifted.*{CHOICE}'):
        MODELS.build(config(NECK, from_p3(), teacher_of(faster_rcnn(width=16))))


def test_chosen_levels_are_named_by_their_own_numbers() -> None:
    levels = dict(student=[0, 1, 2], teacher=[1, 2, 3])
    teacher = from_p3(4)
    pairs = dict(a=NECK['a'] | dict(levels=levels))
    with pytest.raises(ConfigError, match=r'levels=\[1, 2\]\.$'):
        MODELS.build(config(pairs, from_p3(), teacher_of(teacher)))


def test_another_number_of_levels_is_paired_by_size_too() -> None:
    message = r"teacher 'neck' 3 .* Choose as many of both: levels=dict\(student=\[0, 1"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(NECK, from_p3(4), teacher_of(faster_rcnn())))


def test_levels_that_have_no_equal_are_resized() -> None:
    pairs = dict(a=NECK['a'] | dict(levels=[0]))
    with pytest.raises(ConfigError, match=r"adapter=dict\(type='ResizeAdapter'\)"):
        MODELS.build(config(pairs, from_p3(), teacher_of(faster_rcnn())))


def test_an_adapter_says_that_the_shift_is_meant() -> None:
    pairs = dict(a=NECK['a'] | dict(adapter=dict(type='ResizeAdapter')))
    model = MODELS.build(config(pairs, from_p3(), teacher_of(faster_rcnn())))
    assert [spec.scale_factor for spec in model.pairs[0].tensors] == [(2.0, 2.0)] * 3


def test_sizes_that_a_model_has_twice_are_left_out() -> None:
    student = [(4, 4), (1, 1), (1, 1)]
    assert levels_of_equal_size(student, [(8, 8), (4, 4), (1, 1)]) == [(0, 1)]
