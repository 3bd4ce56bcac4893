"""Flow matrices between two layers of each model."""

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.losses import flow_matrix
from kd_plugins.registry import MODELS
from kd_plugins.schedules import Clock
from tests.distillers.tiny import (
    config,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    teacher_of,
)

WIDE = teacher_of(faster_rcnn(base=8))  # a wide backbone, an FPN like the student's


def flow(first: Any, last: Any, **options: Any) -> dict[str, Any]:
    view = dict(type='layer.flow', first=first, last=last) | options.pop('view', {})
    return dict(view=view, loss=dict(type='FSPLoss', **options))


def hint(layer: str) -> dict[str, Any]:
    return dict(layer=layer, loss=dict(type='HintLoss'))


def refused(message: str, pair: dict[str, Any], **options: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(a=pair), **options))


@pytest.mark.parametrize('pool', ['max', 'average'])
def test_between_two_stages_of_either_model(pool: str) -> None:
    layers = ('backbone.layer1', 'backbone.layer2.0')
    pairs = {'flow': flow(*layers, view=dict(pool=pool))}
    pairs |= {str(number): hint(layer) for number, layer in enumerate(layers)}
    model = distiller(pairs)
    with observed(model) as seen:
        matched = seen.first('flow')
        ends = seen.first('0'), seen.first('1')
        expected = flow_matrix(*(end.teacher for end in ends), pool=pool)
        torch.testing.assert_close(matched.teacher, expected)
        expected = flow_matrix(*(end.student for end in ends), pool=pool)
        torch.testing.assert_close(matched.student, expected)
        assert matched.student.shape == (2, 4, 8) and matched.count == 2
        assert matched.student.requires_grad and not matched.teacher.requires_grad
    (spec,) = model.pairs[-1].tensors
    assert spec.name == 'flow backbone.layer1 to backbone.layer2.0'


def test_gradient_reaches_what_is_before_the_last_layer() -> None:
    model = distiller(dict(a=flow('backbone.layer1.0', 'backbone.layer1')))
    losses_of(model)['loss_kd_a'].backward()
    backbone = model.student.backbone
    assert backbone.layer1[1].bn2.weight.grad.abs().sum() > 0
    assert backbone.layer2[0].conv1.weight.grad is None


def test_levels_of_an_fpn_suit_any_two_backbones() -> None:
    pair = flow('neck.fpn_convs.0', 'neck.fpn_convs.1')
    model = distiller(dict(a=pair), teacher=WIDE)
    assert losses_of(model)['loss_kd_a'] > 0
    assert model.teacher_parts('teacher') == ['backbone', 'neck']


def test_maps_may_differ_in_size() -> None:
    first = dict(student='backbone.layer1.0', teacher='backbone.layer2.0')
    last = dict(student='backbone.layer1', teacher='backbone.layer2')
    teacher = teacher_of(faster_rcnn(base=2))
    model = distiller(dict(a=flow(first, last)), teacher=teacher)
    assert losses_of(model)['loss_kd_a'] > 0


def test_a_teachers_own_padding_is_cut_off() -> None:
    teacher = teacher_of(faster_rcnn(data_preprocessor__pad_size_divisor=96))
    layers = ('backbone.layer1.0', 'backbone.layer1')
    pairs = dict(a=flow(*layers), b=hint(layers[0]), c=hint(layers[1]))
    model = distiller(pairs, teacher=teacher)
    with observed(model) as seen:
        ends = seen.first('b').teacher, seen.first('c').teacher
        assert ends[0].shape[-2:] == (16, 16)
        torch.testing.assert_close(seen.first('a').teacher, flow_matrix(*ends))


def test_between_layers_of_the_roi_head() -> None:
    layer = 'roi_head.bbox_roi_extractor'
    model = distiller(dict(a=flow(layer, layer)))
    with observed(model) as seen:
        matched = seen.first('a')
        assert matched.student.shape == matched.teacher.shape
        assert matched.student.shape[1:] == (8, 8) and len(matched.student) > 2


def test_first_the_flow_then_the_task() -> None:
    def steps(*values: float) -> dict[str, Any]:
        return dict(type='StepSchedule', values=list(values), milestones=[10])

    pair = flow('backbone.layer1.0', 'backbone.layer1', loss_weight=steps(2, 0))
    model = distiller(dict(a=pair), task_loss_weights={'*': steps(0, 1)})
    alone = losses_of(model.student)
    for iteration, shares in ((0, (True, False)), (10, (False, True))):
        model.set_clock(Clock(iteration, 0, 20, None, False))
        losses = losses_of(model)
        assert bool(losses.pop('loss_kd_a')) is shares[0]
        for name, value in losses.items():
            if 'loss' in name:
                own = sum(value) if isinstance(value, list) else value
                told = alone[name]
                told = sum(told) if isinstance(told, list) else told
                assert own == (told if shares[1] else 0)


# What cannot work is told when the models are built.


def test_channels_that_differ_are_refused() -> None:
    refused(
        r'model.pairs.a.view: the flow of the student has 4 x 8 channels, that of the '
        r"teacher 8 x 16. Choose layers of as many.*'neck.fpn_convs.0'",
        flow('backbone.layer1', 'backbone.layer2'),
        teacher=WIDE,
    )


def test_several_maps_are_refused() -> None:
    refused(
        r"model.pairs.a.view.last: 'neck' of the student gives \(1, 8, 32, 32\), .*; a "
        r"flow runs between single maps \(N, C, H, W\).*'neck.fpn_convs.0'",
        flow('neck.fpn_convs.0', 'neck'),
    )
    refused(
        r"view.first: 'neck' of the teacher gives \(1, 8, 32, 32\), ",
        flow(dict(student='neck.fpn_convs.0', teacher='neck'), 'neck.fpn_convs.1'),
    )
    refused(
        r"view.first: 'roi_head.bbox_head.fc_cls' of the student gives \(1, 4\);",
        flow('roi_head.bbox_head.fc_cls', 'roi_head.bbox_head.fc_cls'),
    )


def test_images_and_rois_do_not_mix() -> None:
    refused(
        r"a.view: first is 'neck.fpn_convs.0', last 'roi_head.bbox_roi_extractor'",
        flow('neck.fpn_convs.0', 'roi_head.bbox_roi_extractor'),
    )


@pytest.mark.parametrize(
    ('view', 'message'),
    [
        (
            dict(last='backbone.layr1'),
            r'model.pairs.a.view.last \(student\): FasterRCNN has no layer '
            r"'backbone.layr1'. Close: 'backbone.layer1'",
        ),
        (dict(first=3), r'pairs.a.view.first: must be a dotted name or dict\(student='),
        (dict(pool='sum'), r"view: pool must be 'max' or 'average', got 'sum'"),
        (dict(frst='neck'), "layer.flow has no argument 'frst'. Close: 'first'"),
    ],
)
def test_bad_views(view: dict[str, Any], message: str) -> None:
    refused(message, flow('backbone.layer1', 'backbone.layer2', view=view))


def test_other_losses_are_told_that_there_are_no_maps() -> None:
    pair = flow('backbone.layer1', 'backbone.layer2')
    pair['loss'] = dict(type='HintLoss')
    refused(r'model.pairs.a.loss at flow backbone.layer1 .*student must be', pair)
    pair = hint('backbone.layer1') | dict(loss=dict(type='FSPLoss'))
    refused(r"loss at backbone.layer1: student must be \(N, m, n\).*'layer.flow'", pair)
