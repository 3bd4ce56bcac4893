"""What ``pairs='auto'`` chooses for two models, and what it says of the rest."""

import re
from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.random_stream import get_random_state
from kd_plugins.registry import MODELS
from tests.distillers import tiny, tiny_dense, tiny_seg, tiny_transformers
from tests.distillers.auto.models import MODELS_OF, auto, built, train
from tests.views.layer.test_shifted_levels import from_p3
from tests.views.test_pixel_decoders import mask2former

CHOSEN = {
    'faster_rcnn': {'features': 'neck', 'logits': 'roi.logits'},
    'gfl': {'features': 'neck', 'boxes': 'head.distributions'},
    'retinanet': {'features': 'neck', 'logits': 'head.logits'},
    'pspnet': {'logits': 'seg.logits'},
    'rtmdet': {'features': 'neck', 'logits': 'head.logits'},
    'deformable_detr': {'features': 'encoder.memory'},
}


def sources(model: Any) -> dict[str, str]:
    """What is compared, by pair."""
    return {
        name: pair.get('layer') or pair['view']
        for name, pair in model.choice.pairs.items()
    }


def chosen(student: Any, teacher: Any, pairs: Any = 'auto', **options: Any) -> Any:
    return MODELS.build(auto(student, teacher, pairs, **options))


@pytest.mark.parametrize('kind', MODELS_OF)
def test_each_kind_has_its_row_and_trains(kind: str) -> None:
    student, teacher = (build() for build in MODELS_OF[kind])
    model = built(auto(student, teacher))
    assert sources(model) == CHOSEN[kind]
    logs = train(model)
    for name in CHOSEN[kind]:
        assert all(log[f'loss_kd_{name}'] > 0 for log in logs)


def test_other_classes_leave_the_answers_out_and_say_why() -> None:
    teacher = tiny.faster_rcnn(roi_head__bbox_head=dict(num_classes=5))
    model = chosen(tiny.faster_rcnn(), teacher)
    assert sources(model) == {'features': 'neck'}
    assert re.search(
        r"left out: logits \(view='roi\.logits'\): .* 3 classes, .* 5", model.summary()
    )


def test_a_class_map_brings_the_answers_back() -> None:
    classes = dict(student=['a', 'b', 'c'], teacher=['a', 'b', 'c', 'd', 'e'])
    teacher = tiny.faster_rcnn(roi_head__bbox_head=dict(num_classes=5))
    cfg = auto(tiny.faster_rcnn(), teacher)
    cfg['teacher']['class_map'] = classes
    assert 'logits' in sources(MODELS.build(cfg))


def test_other_classes_of_points_are_compared_by_the_head_of_the_teacher() -> None:
    deep = dict(stacked_convs=3)
    student = tiny_dense.retinanet(**deep)
    model = chosen(student, tiny_dense.retinanet(num_classes=5, **deep))
    assert sources(model) == {'features': 'neck', 'logits': 'cross.logits'}


def test_other_classes_of_pixels_leave_the_attention_of_the_backbone() -> None:
    teacher = tiny_seg.segmentor(8)
    for head in ('decode_head', 'auxiliary_head'):
        teacher[head] = teacher[head] | dict(num_classes=7)
    model = built(auto(tiny_seg.segmentor(), teacher))
    assert sources(model) == {'features': 'backbone'}
    assert 'adapter' not in model.choice.pairs['features']
    assert train(model, 1)[0]['loss_kd_features'] > 0


def test_models_of_two_kinds_share_their_features_level_by_level() -> None:
    model = chosen(from_p3(), tiny.faster_rcnn())
    assert sources(model) == {'features': 'neck'}
    levels = model.choice.pairs['features']['levels']
    assert levels == dict(student=[0, 1], teacher=[1, 2])
    assert 'left out: what their heads answer: student and' in model.summary()


def test_a_frozen_backbone_gives_the_levels_that_train() -> None:
    student = tiny_seg.segmentor()
    student['backbone']['frozen_stages'] = 1
    model = chosen(
        student,
        tiny_seg.segmentor(
            decode=tiny_seg.head('PSPHead', 8, pool_scales=(1, 2), num_classes=7)
        ),
    )
    assert model.choice.pairs['features']['levels'] == [1]


def test_masks_of_queries_leave_the_pixel_decoder() -> None:
    model = chosen(mask2former(), mask2former())
    assert sources(model) == {'features': 'panoptic_head.pixel_decoder'}


def test_one_level_of_a_transformer_has_no_need_of_a_choice() -> None:
    model = chosen(tiny_transformers.detr(), tiny_transformers.detr())
    assert sources(model) == {'features': 'encoder.memory'}


def test_nothing_to_compare_is_one_error_that_says_what_was_tried() -> None:
    student = tiny_seg.segmentor()
    student['backbone']['frozen_stages'] = 2
    student['decode_head'] = student['decode_head'] | dict(num_classes=7)
    with pytest.raises(ConfigError) as error:
        chosen(student, tiny_seg.segmentor())
    message = str(error.value)
    assert message.startswith(
        "model.pairs: 'auto' finds nothing to compare with teacher 'teacher': "
        'EncoderDecoder (segmentor) teaches EncoderDecoder (segmentor). Tried:\n'
    )
    for tried, why in (
        ("logits (view='seg.logits')", 'the student scores 7 classes'),
        ("features (layer='backbone')", 'does not train'),
    ):
        assert re.search(rf'\n  {re.escape(tried)}: .*{why}', message)
    assert message.endswith("can be compared: view='seg.features'.")


def test_what_is_written_by_hand_is_enough() -> None:
    student = tiny_seg.segmentor()
    student['backbone']['frozen_stages'] = 2
    student['decode_head'] = student['decode_head'] | dict(num_classes=7)
    mine = dict(view='seg.features', loss=dict(type='HintLoss'), adapter='auto')
    model = chosen(student, tiny_seg.segmentor(8), dict(type='auto', mine=mine))
    assert sources(model) == {'mine': 'seg.features'}


def test_nothing_is_drawn() -> None:
    student, teacher = (build() for build in MODELS_OF['faster_rcnn'])
    model = MODELS.build(auto(student, teacher))
    again = MODELS.build(auto(student, teacher, model.choice.pairs))
    states = [item.random_stream.state_dict()['torch'] for item in (model, again)]
    assert bool((states[0] == states[1]).all())


def test_the_host_draws_on_as_without_a_choice() -> None:
    student, teacher = (build() for build in MODELS_OF['faster_rcnn'])
    states = []
    for pairs in ('auto', {}):
        built(auto(student, teacher, pairs))
        states.append(get_random_state()['torch'])
    assert bool((states[0] == states[1]).all())


def test_an_inner_detector_is_what_counts() -> None:
    model = chosen(tiny.faster_rcnn(), tiny.cascade_rcnn())
    assert sources(model) == CHOSEN['faster_rcnn']


@pytest.mark.parametrize('pairs', ['Auto', dict(type='automatic')])
def test_another_word_is_refused(pairs: Any) -> None:
    with pytest.raises(ConfigError, match=r"model\.pairs.*'auto', got '[Aa]uto"):
        chosen(tiny.faster_rcnn(), tiny.faster_rcnn(), pairs)
