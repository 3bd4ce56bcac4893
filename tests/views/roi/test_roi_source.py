"""The teacher proposes, and both models answer on its RoIs."""

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.views.roi.outputs import RoIRecorder
from tests.distillers.tiny import (
    bbox_head,
    config,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    raw_batch,
    teacher_of,
)

BIG = faster_rcnn(base=8, width=16, fc=24)


def view(value: str, **options: Any) -> dict[str, Any]:
    return dict(type=f'roi.{value}', **options)


def pairs(**options: Any) -> dict[str, Any]:
    return dict(
        cls=dict(view=view('logits', **options), loss=dict(type='KDLoss')),
        reg=dict(view=view('deltas', **options), loss=dict(type='TeacherBoundedLoss')),
    )


def with_norm() -> Any:
    head = bbox_head(
        16,
        8,
        type='mmdet.ConvFCBBoxHead',
        num_shared_convs=1,
        num_shared_fcs=1,
        conv_out_channels=8,
        norm_cfg=dict(type='BN'),
    )
    return faster_rcnn(roi_head__bbox_head=head)


def source(name: str, number: int = 6, **options: Any) -> dict[str, Any]:
    options = dict(roi_source=name, num_rois=number, **options)
    return dict(view=view('logits', **options), loss=dict(type='KDLoss'))


@pytest.mark.parametrize('name', ['teacher', 'union'])
def test_the_teacher_proposes_and_the_student_answers_once_more(name: str) -> None:
    model = distiller(
        dict(a=source(name)), student=with_norm(), teacher=teacher_of(BIG)
    )
    norms = [
        module
        for module in model.student.roi_head.modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    assert norms
    with observed(model) as seen:
        matched, sampled = seen.first('a'), seen.step.student.records[RoIRecorder()][0]
        assert all(int(norm.num_batches_tracked) == 1 for norm in norms)
        assert all(norm.training for norm in norms)
        teacher = seen.run.model
        with torch.no_grad():
            features = teacher.extract_feat(seen.inputs)
            proposals = teacher.rpn_head.predict(
                features, raw_batch()['data_samples'], rescale=False
            )
        boxes = torch.cat(
            [
                torch.cat([torch.full((len(item), 1), float(index)), item.bboxes], 1)[
                    :6
                ]
                for index, item in enumerate(proposals)
            ]
        )
        if name == 'union':
            boxes = torch.cat([sampled.rois.detach(), boxes])
        with torch.no_grad():
            expected = teacher.roi_head._bbox_forward(features, boxes)['cls_score']
    torch.testing.assert_close(matched.teacher, expected)
    assert matched.student.shape == expected.shape and matched.student.requires_grad
    assert matched.target is None and matched.mask is None
    assert matched.count == len(boxes)


def test_pairs_with_other_numbers_of_proposals_do_not_mix() -> None:
    shared = dict(layer='roi_head.bbox_head.shared_fcs.1', loss=dict(type='HintLoss'))
    model = distiller(
        dict(a=source('teacher', 3), b=source('teacher', 6), c=shared, d=pairs()['cls'])
    )
    with observed(model) as seen:
        rows = {name: len(seen.first(name).teacher) for name in 'abcd'}
        sampled = len(seen.step.student.records[RoIRecorder()][0].rois)
    assert rows == dict(a=6, b=12, c=sampled, d=sampled)


def test_the_teachers_rpn_runs_once_for_all() -> None:
    layer = dict(layer='rpn_head.rpn_conv', loss=dict(type='HintLoss'))
    rpn = dict(view='rpn.logits', loss=dict(type='KDLoss'))
    model = distiller(dict(a=source('teacher'), b=rpn, c=layer, d=source('union')))
    calls = []
    teacher = model.teachers['teacher'].model
    teacher.rpn_head.register_forward_hook(lambda *_: calls.append('rpn'))
    teacher.roi_head.bbox_head.register_forward_hook(lambda *_: calls.append('roi'))
    losses_of(model)
    assert sorted(calls) == ['roi', 'roi', 'rpn']


def test_rescored_student_learns_from_the_teachers_proposals() -> None:
    model = distiller(dict(a=source('teacher')))
    losses = losses_of(model)
    losses['loss_kd_a'].backward()
    assert model.student.roi_head.bbox_head.fc_cls.weight.grad.abs().sum() > 0
    assert model.student.backbone.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('name', ['teacher', 'union'])
def test_losses_that_need_targets_are_refused_with_the_teachers_proposals(
    name: str,
) -> None:
    pair = dict(
        view=view('logits', roi_source=name), loss=dict(type='TeacherBoundedLoss')
    )
    message = (
        r'model.pairs.a.loss: TeacherBoundedLoss needs the targets of the host, and '
        rf"this pair has none. Remove roi_source='{name}' from this pair's view\."
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(a=pair)))
    pair['view'] = view('deltas', roi_source=name)
    message = rf"model.pairs.a.view: 'roi.deltas' needs the labels.*'{name}' has none"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(a=pair)))


def test_each_of_two_teachers_proposes_its_own() -> None:
    teachers = {name: teacher_of(faster_rcnn(base=8)) for name in ('one', 'other')}
    model = distiller(
        dict(
            a=source('teacher') | dict(teacher='one'),
            b=source('teacher') | dict(teacher='other'),
        ),
        teacher=teachers,
    )
    with torch.no_grad():
        for teacher in model.teachers.values():
            teacher.prepare(torch.device('cpu'))
        for parameter in model.teachers['other'].model.rpn_head.parameters():
            parameter.neg_()
    with observed(model) as seen:
        first, second = (seen.first(name).student for name in 'ab')
    assert not torch.equal(first, second)
