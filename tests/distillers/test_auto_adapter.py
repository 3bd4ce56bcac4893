"""``adapter='auto'`` adapts what differs, by its kind, and nothing else."""

from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.views.layer.test_shifted_levels import from_p3

from .tiny import config, distiller, faster_rcnn, losses_of, teacher_of
from .tiny_transformers import deformable_detr

WIDE = teacher_of(faster_rcnn(base=8, width=16, fc=32))


def auto(loss: str = 'HintLoss', layer: str = 'neck', **options: Any) -> dict[str, Any]:
    place = {} if 'view' in options else dict(layer=layer)
    return dict(**place, loss=dict(type=loss), adapter='auto', **options)


def adapters(pair: dict[str, Any], **options: Any) -> list[str]:
    """Kinds of the adapters, level by level, of a model that has trained a step."""
    model = distiller(dict(a=pair), **options)
    assert losses_of(model)['loss_kd_a'] > 0
    return [type(item).__name__ for item in model.pairs[0].adapters or ()]


def numbers(model: Any) -> list[tuple[int | None, int | None]]:
    contexts = [spec.context for spec in model.pairs[0].tensors]
    return [(item.level, item.teacher_level) for item in contexts]


def test_what_agrees_has_no_adapter() -> None:
    assert adapters(auto()) == []


def test_maps_of_other_channels_have_a_convolution() -> None:
    assert adapters(auto(), teacher=WIDE) == ['ConvAdapter'] * 3


def test_rows_of_other_channels_have_a_linear_layer() -> None:
    assert adapters(auto(view='roi.features'), teacher=WIDE) == ['LinearAdapter']


def test_maps_of_another_size_are_resized() -> None:
    teacher = teacher_of(faster_rcnn(backbone=dict(strides=(1, 1, 1))))
    last = auto(layer='backbone', levels=[2])
    assert adapters(last, teacher=teacher) == ['ResizeAdapter']


def test_a_loss_of_any_channels_has_no_convolution() -> None:
    assert adapters(auto('ATLoss'), teacher=WIDE) == []


def test_each_level_has_the_adapter_that_it_needs() -> None:
    levels = dict(student=[0, 0, 1], teacher=[0, 1, 1])
    pair = auto(layer='backbone', levels=levels)
    teacher = teacher_of(faster_rcnn(base=2))
    # 4 channels at a half, of the teacher 2, and 4 at a quarter.
    assert adapters(pair, teacher=teacher) == [
        'ConvAdapter',
        'ResizeAdapter',
        'ConvAdapter',
    ]
    model = distiller(dict(a=pair), teacher=teacher)
    assert 'ResizeAdapter (0 parameters)' in model.summary()


def test_a_level_that_agrees_beside_others_is_left_as_it_is() -> None:
    pair = auto(layer='backbone', levels=dict(student=[0, 1], teacher=[0, 0]))
    assert adapters(pair) == ['Unadapted', 'ConvAdapter']
    model = distiller(dict(a=pair))
    assert 'Unadapted' not in model.summary()


def test_shifted_levels_are_matched_by_size_and_not_resized() -> None:
    model = distiller(dict(a=auto()), from_p3(), teacher_of(faster_rcnn()))
    assert numbers(model) == [(0, 1), (1, 2)]
    assert model.pairs[0].adapters is None


def test_another_number_of_levels_is_matched_by_size() -> None:
    model = distiller(dict(a=auto()), from_p3(4), teacher_of(faster_rcnn()))
    assert numbers(model) == [(0, 1), (1, 2)]


def test_a_level_that_does_not_train_is_left_out() -> None:
    student = faster_rcnn(backbone=dict(frozen_stages=1))
    model = distiller(dict(a=auto(layer='backbone')), student)
    assert numbers(model) == [(1, 1), (2, 2)]


def test_levels_of_a_teacher_with_larger_images_are_those_of_the_same_stride() -> None:
    teacher = teacher_of(faster_rcnn(), input_scale=2.0)
    student = from_p3(4)
    model = distiller(dict(a=auto()), student, teacher)
    assert numbers(model) == [(0, 1), (1, 2)]
    assert {type(item).__name__ for item in model.pairs[0].adapters} == {
        'ResizeAdapter'
    }


def test_levels_of_a_memory_are_matched_too() -> None:
    teacher = deformable_detr()
    teacher.update(num_feature_levels=4)
    teacher['neck'].update(num_outs=4)
    for part in ('encoder', 'decoder'):
        for layer in teacher[part]['layer_cfg'].values():
            if 'num_levels' in layer:
                layer.update(num_levels=4)
    model = distiller(
        dict(a=auto(view='encoder.memory')), deformable_detr(), teacher_of(teacher)
    )
    assert numbers(model) == [(0, 0), (1, 1), (2, 2)]


def test_levels_that_were_chosen_stay() -> None:
    levels = dict(student=[0], teacher=[0])
    model = distiller(dict(a=auto(levels=levels)), from_p3(), teacher_of(faster_rcnn()))
    assert numbers(model) == [(0, 0)]
    assert type(model.pairs[0].adapters[0]).__name__ == 'ResizeAdapter'


def test_another_word_is_refused() -> None:
    pairs = dict(a=auto() | dict(adapter='automatic'))
    message = r"a\.adapter: must be a dict with 'type', or 'auto', got 'automatic'"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs))
