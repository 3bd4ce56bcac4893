"""Layers by dotted name, level by level, with what each model really gives there."""

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.views.roi.outputs import RoIRecorder
from tests.distillers.tiny import (
    cascade_rcnn,
    config,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    teacher_of,
)


def pair(layer: Any, **options: Any) -> dict[str, Any]:
    return dict(layer=layer, loss=dict(type='HintLoss'), **options)


def both(student: str, teacher: str) -> dict[str, str]:
    return dict(student=student, teacher=teacher)


def refused(message: str, pairs: Any, **options: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, **options))


def test_every_level_of_the_neck_is_compared_with_the_teachers() -> None:
    model = distiller(dict(a=pair('neck')))
    with observed(model) as seen:
        levels = [item for item in seen.matched['a'] if item is not None]
        with torch.no_grad():
            expected = seen.run.model.extract_feat(seen.inputs)
    assert [spec.name for spec in model.pairs[0].tensors] == [
        'neck[0]',
        'neck[1]',
        'neck[2]',
    ]
    assert [item.context.level for item in levels] == [0, 1, 2]
    for item, feature in zip(levels, expected, strict=True):
        torch.testing.assert_close(item.teacher, feature)
        assert item.student.requires_grad and not item.teacher.requires_grad
        assert item.count == 2


def test_levels_of_both_and_of_each() -> None:
    layer = both('neck', 'backbone')
    one = pair('neck', levels=[0, 2])
    two = pair(layer, levels=dict(student=[1, 2], teacher=[0, 1]))
    two['adapter'] = dict(type='ConvAdapter')
    model = distiller(dict(one=one, two=two))
    with observed(model) as seen:
        shapes = {
            name: [
                (tuple(item.student.shape), tuple(item.teacher.shape))
                for item in seen.matched[name]
                if item is not None
            ]
            for name in ('one', 'two')
        }
        contexts = [item.context for item in seen.matched['two'] if item is not None]
    assert [(each.level, each.teacher_level) for each in contexts] == [(1, 0), (2, 1)]
    assert shapes['one'] == [((2, 8, 16, 16),) * 2, ((2, 8, 4, 4),) * 2]
    assert shapes['two'] == [
        ((2, 8, 8, 8), (2, 4, 16, 16)),
        ((2, 8, 4, 4), (2, 8, 8, 8)),
    ]
    assert model.pairs[0].tensors[1].name == 'neck[2]'
    assert losses_of(model)['loss_kd_two'] > 0


@pytest.mark.parametrize(
    ('levels', 'message'),
    [
        (
            [0, 3],
            r"model.pairs.a.levels: 'neck' of the student gives 3 levels, counted",
        ),
        ([-1], 'there is no -1'),
        (1, r'model.pairs.a.levels: must be a list of whole numbers.*got 1'),
        ([], r'levels: must be a list of whole numbers'),
        (['0'], r'levels: must be a list of whole numbers'),
        (dict(studnt=[0]), "levels: no key 'studnt'. Close: 'student'"),
        (
            dict(student=[0], teacher=[0, 1]),
            r"student 'neck' gives 1 maps \(1, 8, 32, 32\), teacher 'neck' 2 .* both: "
            r'levels=\[0\]\.',
        ),
    ],
)
def test_bad_levels(levels: Any, message: str) -> None:
    refused(message, dict(a=pair('neck', levels=levels)))


def test_a_convolution_shared_over_the_pyramid_has_its_levels() -> None:
    model = distiller(dict(a=pair('rpn_head.rpn_conv')))
    with observed(model) as seen:
        expected = [
            seen.run.model.rpn_head.rpn_conv(feature) for feature in seen.run.features
        ]
        for item, feature in zip(seen.matched['a'], expected, strict=True):
            assert item is not None
            # The RPN's ReLU is in place: here it is undone.
            torch.testing.assert_close(item.teacher, feature)
            assert (item.student < 0).any()


def test_in_place_relu_does_not_reach_what_was_recorded() -> None:
    model = distiller(dict(a=pair('backbone.layer2.0.bn1'), b=pair('backbone.layer2')))
    with observed(model) as seen:
        inner, outer = seen.first('a'), seen.first('b')
    for item in (inner.student, inner.teacher):
        assert (item < 0).any()  # before the ReLU
    assert (outer.student >= 0).all()
    copied = [pair.view.layers['student'].recorder.copy for pair in model.pairs]
    assert copied == [True, False]


def test_maps_are_recorded_where_the_gradient_flows() -> None:
    model = distiller(dict(a=pair('backbone.layer2.0.bn1')))
    losses_of(model)['loss_kd_a'].backward()
    backbone = model.student.backbone
    assert backbone.conv1.weight.grad.abs().sum() > 0
    assert backbone.layer2[0].conv2.weight.grad is None


# Layers of the RoI head.


def test_layers_of_the_roi_head_on_the_students_rois() -> None:
    layers = ('shared_fcs.0', 'fc_cls')
    pairs = {
        str(number): pair(f'roi_head.bbox_head.{layer}')
        for number, layer in enumerate(layers)
    }
    pairs['pooled'] = pair('roi_head.bbox_roi_extractor')
    # A teacher with larger padding: maps of RoIs must not be cropped.
    teacher = teacher_of(faster_rcnn(data_preprocessor__pad_size_divisor=96))
    model = distiller(pairs, teacher=teacher)
    with observed(model) as seen:
        teacher, rois = seen.run.model, seen.step.student.records[RoIRecorder()][0].rois
        with torch.no_grad():
            answer = teacher.roi_head._bbox_forward(seen.run.features, rois.detach())
        torch.testing.assert_close(seen.first('1').teacher, answer['cls_score'])
        torch.testing.assert_close(seen.first('pooled').teacher, answer['bbox_feats'])
        assert seen.first('pooled').teacher.shape == (len(rois), 8, 4, 4)
        assert seen.first('0').student.shape == seen.first('0').teacher.shape
        assert seen.first('0').count == len(rois)


def test_layers_of_a_cascade_by_their_stage() -> None:
    student, teacher = ('roi_head.bbox_head.1.fc_cls', 'roi_head.bbox_head.0.fc_cls')
    model = distiller(
        dict(
            a=pair(both(student, teacher)),
            b=dict(view='roi.logits', loss=dict(type='KDLoss')),
        ),
        student=cascade_rcnn(),
        teacher=teacher_of(cascade_rcnn()),
    )
    with observed(model) as seen:
        rois = seen.step.student.records[RoIRecorder()][1].rois.detach()
        with torch.no_grad():
            expected = seen.run.model.roi_head._bbox_forward(0, seen.run.features, rois)
        torch.testing.assert_close(seen.first('a').teacher, expected['cls_score'])


def test_a_late_stage_of_a_cascade_teaches_a_plain_layer() -> None:
    layer = both('roi_head.bbox_head.fc_cls', 'roi_head.bbox_head.1.fc_cls')
    model = distiller(dict(a=pair(layer)), teacher=teacher_of(cascade_rcnn()))
    assert losses_of(model)['loss_kd_a'] >= 0


def test_rows_and_maps_do_not_mix() -> None:
    refused(
        r"model.pairs.a.layer: student 'neck', teacher 'roi_head.bbox_head.fc_cls': "
        'one of them gives rows of RoIs',
        dict(a=pair(both('neck', 'roi_head.bbox_head.fc_cls'))),
    )


# What cannot work is told when the models are built.


def test_unknown_layers_of_both_models_are_named_with_the_nearest() -> None:
    refused(
        r"model.pairs.a.layer \(student\): FasterRCNN has no layer 'neck.fpn_conv'. "
        r"Close: 'neck.fpn_convs'[\s\S]*"
        r"model.pairs.a.layer \(teacher\): FasterRCNN has no layer 'backbne'. "
        "Close: 'backbone'",
        dict(a=pair(both('neck.fpn_conv', 'backbne'))),
    )


@pytest.mark.parametrize('layer', [dict(student='neck'), 3, ['neck']])
def test_a_layer_is_a_name_or_one_for_each(layer: Any) -> None:
    refused(r'model.pairs.a.layer: must be a dotted name or dict', dict(a=pair(layer)))


def test_scalars_and_rows_differ_from_maps() -> None:
    one = both('roi_head.bbox_head.fc_cls', 'roi_head.bbox_roi_extractor')
    refused(
        r'layer: student \(1, 4\) and teacher \(1, 8, 4, 4\) differ in kind',
        dict(a=pair(one)),
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(layer='nek'), r"a\.view\.layer \(student\): .* no layer 'nek'"),
        (
            dict(layer='neck', levels=[3]),
            r"a\.view\.levels: 'neck' of the student gives 3 levels",
        ),
        (
            dict(layer=both('neck', 'backbone.conv1')),
            r"a\.view\.levels: student 'neck' gives 3 maps .*, teacher 'backbone\.con",
        ),
        (
            dict(
                layer=both('roi_head.bbox_head.fc_cls', 'roi_head.bbox_roi_extractor')
            ),
            r'a\.view\.layer: student \(1, 4\) and teacher .* differ in kind',
        ),
    ],
)
def test_a_layer_of_a_view_is_named_where_it_stands(options: Any, message: str) -> None:
    view = dict(type='layer', **options)
    refused(message, dict(a=dict(view=view, loss=dict(type='HintLoss'))))


def test_a_model_that_cannot_run_is_told_in_the_dry_run() -> None:
    student = faster_rcnn(roi_head__bbox_head=dict(in_channels=9))
    refused(
        r'model.pairs.a: a dry run of the student \(FasterRCNN\) on a black image '
        r'\(1, 3, 128, 128\) failed: .*1x128 and 144x16.* Its features do run: use a '
        r"pair of layer='backbone' or layer='neck'\.",
        dict(a=pair('roi_head.bbox_head.fc_cls')),
        student=student,
    )
