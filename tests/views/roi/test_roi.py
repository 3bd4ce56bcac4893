"""Both RoI heads score the same RoIs, each on its own model's features."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.views.roi.outputs import RoIOutputs, RoIRecorder, stage_of
from tests.distillers.tiny import (
    CLASSES,
    bbox_head,
    cascade_rcnn,
    config,
    distiller,
    faster_rcnn,
    losses_of,
    mask_rcnn,
    observed,
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


def recorded_rois(seen: Any) -> dict[int, RoIOutputs]:
    """What the student's RoI head gave while it computed its losses, by stage."""
    records: dict[int, RoIOutputs] = seen.step.student.records[RoIRecorder()]
    return records


def by_hand(seen: Any, stage: int | None = None, own: int = 0) -> dict[str, Tensor]:
    """The teacher's RoI head on the student's RoIs, by the host's own forward."""
    teacher, rois = seen.run.model, recorded_rois(seen)[own].rois
    with torch.no_grad():
        features = teacher.extract_feat(seen.inputs)
        arguments = (features, rois) if stage is None else (stage, features, rois)
        answer: dict[str, Tensor] = teacher.roi_head._bbox_forward(*arguments)
    return answer


def of_label(deltas: Tensor, labels: Tensor) -> Tensor:
    if deltas.shape[1] == 4:
        return deltas
    rows = [
        row[4 * min(int(label), CLASSES - 1) :][:4]
        for row, label in zip(deltas, labels, strict=True)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize('own', [False, True], ids=['specific', 'agnostic'])
@pytest.mark.parametrize('other', [False, True], ids=['specific', 'agnostic'])
def test_logits_and_deltas_are_the_teachers_on_the_same_rois(
    own: bool, other: bool
) -> None:
    model = distiller(
        pairs(),
        student=faster_rcnn(roi_head__bbox_head=dict(reg_class_agnostic=own)),
        teacher=teacher_of(
            faster_rcnn(base=8, roi_head__bbox_head=dict(reg_class_agnostic=other))
        ),
    )
    with observed(model) as seen:
        expected, recorded = by_hand(seen), recorded_rois(seen)[0]
        logits, deltas = seen.first('cls'), seen.first('reg')
    labels, _, target, _ = recorded.targets
    positive = labels < CLASSES
    assert 0 < positive.sum() < len(labels)
    torch.testing.assert_close(logits.teacher, expected['cls_score'])
    assert logits.student is recorded.logits
    assert torch.equal(logits.target, labels)
    assert logits.context.background == CLASSES and logits.count == len(labels)
    torch.testing.assert_close(
        deltas.teacher[positive], of_label(expected['bbox_pred'], labels)[positive]
    )
    torch.testing.assert_close(
        deltas.student[positive], of_label(recorded.deltas, labels)[positive]
    )
    assert torch.equal(deltas.mask, positive.float()) and deltas.count == len(labels)
    assert torch.equal(deltas.target[positive], target[positive])
    assert not logits.teacher.requires_grad and logits.student.requires_grad


def test_the_students_own_copy_as_a_teacher_answers_the_same() -> None:
    model = distiller(pairs()).eval()
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    teacher.load_state_dict(model.student.state_dict())
    with observed(model) as seen:
        for name in ('cls', 'reg'):
            matched = seen.first(name)
            torch.testing.assert_close(matched.student, matched.teacher)


def test_deltas_are_said_in_the_students_coding() -> None:
    coder = dict(bbox_coder=bbox_head(1, 1)['bbox_coder'])
    coder['bbox_coder']['target_stds'] = [0.05, 0.05, 0.1, 0.1]
    model = distiller(
        pairs(), teacher=teacher_of(faster_rcnn(roi_head__bbox_head=coder))
    )
    with observed(model) as seen:
        raw, recorded = by_hand(seen)['bbox_pred'], recorded_rois(seen)[0]
        deltas = seen.first('reg')
    boxes = recorded.rois[:, 1:].detach()
    raw = of_label(raw, recorded.targets[0])
    decoded = seen.run.model.roi_head.bbox_head.bbox_coder.decode(boxes, raw)
    expected = model.student.roi_head.bbox_head.bbox_coder.encode(boxes, decoded)
    torch.testing.assert_close(deltas.teacher, expected, rtol=1e-3, atol=1e-3)


def test_targets_of_a_student_that_regresses_boxes_are_coded() -> None:
    plain = distiller(pairs())
    changes = dict(reg_decoded_bbox=True, loss_bbox=dict(type='mmdet.GIoULoss'))
    model = distiller(pairs(), student=faster_rcnn(roi_head__bbox_head=changes))
    model.load_state_dict(plain.state_dict())
    with observed(plain) as seen:
        expected = seen.first('reg')
    with observed(model) as seen:
        deltas = seen.first('reg')
    positive = expected.mask.bool()
    assert positive.any() and torch.equal(deltas.mask, expected.mask)
    torch.testing.assert_close(
        deltas.target[positive], expected.target[positive], rtol=1e-3, atol=1e-4
    )
    assert deltas.target.isfinite().all()
    torch.testing.assert_close(deltas.student, expected.student)


def test_each_stage_of_a_cascade_asks_the_same_stage_of_the_teacher() -> None:
    model = distiller(
        pairs(), student=cascade_rcnn(3), teacher=teacher_of(cascade_rcnn(2, base=8))
    )
    with observed(model) as seen:
        assert [place.name for place in model.pairs[0].tensors] == [
            'roi.logits stage 0',
            'roi.logits stage 1',
            'roi.logits stage 2',
        ]
        for own, other in ((0, 0), (1, 1), (2, 1)):  # the last one teaches the rest
            matched = seen.matched['cls'][own]
            expected = by_hand(seen, other, own)
            assert matched is not None and matched.context.stage == own
            torch.testing.assert_close(matched.teacher, expected['cls_score'])
            deltas = seen.matched['reg'][own]
            boxes = recorded_rois(seen)[own].rois[:, 1:].detach()
            heads = (
                seen.run.model.roi_head.bbox_head,
                model.student.roi_head.bbox_head,
            )
            decoded = heads[0][other].bbox_coder.decode(boxes, expected['bbox_pred'])
            recoded = heads[1][own].bbox_coder.encode(boxes, decoded)
            assert deltas is not None
            torch.testing.assert_close(deltas.teacher, recoded, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ('options', 'stage'),
    [({}, 0), (dict(stage=1), 1), (dict(stage=dict(student=0, teacher=1)), 1)],
)
def test_cascade_teaches_a_plain_student(options: Any, stage: int) -> None:
    model = distiller(pairs(**options), teacher=teacher_of(cascade_rcnn(base=8)))
    with observed(model) as seen:
        expected = by_hand(seen, stage)['cls_score']
        assert len(seen.matched['cls']) == 1
        torch.testing.assert_close(seen.first('cls').teacher, expected)


def test_plain_teacher_teaches_one_stage_of_a_cascade() -> None:
    model = distiller(pairs(stage=1), student=cascade_rcnn(), teacher=teacher_of(BIG))
    with observed(model) as seen:
        expected = by_hand(seen, own=1)['cls_score']
        assert len(seen.matched['cls']) == 1
        torch.testing.assert_close(seen.first('cls').teacher, expected)


@pytest.mark.parametrize(
    ('stage', 'message'),
    [
        (2, 'got student 0 and teacher 2; student stages: 1, teacher stages: 2'),
        (-1, 'stage must be a whole number >= 0, got -1'),
        ('1', "stage must be a whole number >= 0, got '1'"),
        (dict(student=1), 'got student 1 and teacher 0'),
        (
            dict(studnt=0),
            r"model.pairs.cls.view.stage: no key 'studnt'. Close: 'student'",
        ),
    ],
)
def test_stages_that_are_not_there(stage: Any, message: str) -> None:
    cfg = config(
        dict(cls=pairs(stage=stage)['cls']), teacher=teacher_of(cascade_rcnn())
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(cfg)


def test_stage_of_two_plain_heads_must_be_theirs() -> None:
    with pytest.raises(ConfigError, match='got student 3 and teacher 3'):
        MODELS.build(config(dict(cls=pairs(stage=3)['cls'])))


def test_mask_rcnn_teaches_and_learns() -> None:
    for student, teacher in ((faster_rcnn(), mask_rcnn(base=8)), (mask_rcnn(), BIG)):
        model = distiller(pairs(), student=student, teacher=teacher_of(teacher))
        masks = student.type == 'mmdet.MaskRCNN'
        with observed(model, masks=masks) as seen:
            expected = by_hand(seen)['cls_score']
            torch.testing.assert_close(seen.first('cls').teacher, expected)
            assert seen.first('reg').mask.any()
            assert ('loss_mask' in seen.losses) == masks


def test_a_cascade_with_masks_pools_twice_and_keeps_the_box_heads_answers() -> None:
    student = cascade_rcnn()
    mask = mask_rcnn().roi_head.mask_head
    student.roi_head.mask_head = mask  # without an extractor: the boxes' one is shared
    for stage in student.train_cfg.rcnn:
        stage.mask_size = 8
    model = distiller(pairs(), student=student, teacher=teacher_of(cascade_rcnn()))
    with observed(model, masks=True) as seen:
        assert 's0.loss_mask' in seen.losses
        for stage in range(2):
            matched = seen.matched['cls'][stage]
            assert matched is not None
            expected = by_hand(seen, stage, stage)['cls_score']
            torch.testing.assert_close(matched.teacher, expected)


# Features.


def test_features_through_a_linear_adapter() -> None:
    pair = dict(view='roi.features', loss=dict(type='HintLoss'))
    message = (
        r'student \(R, 16\) and teacher \(R, 24\) differ in channels at roi.features. '
        r"Add to this pair: adapter=dict\(type='LinearAdapter', student_channels=16, "
        r'teacher_channels=24\)'
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(a=pair), teacher=teacher_of(BIG)))
    pair['adapter'] = dict(
        type='LinearAdapter', student_channels=16, teacher_channels=24
    )
    model = distiller(dict(a=pair), teacher=teacher_of(BIG))
    with observed(model) as seen:
        matched = seen.first('a')
        shared = seen.run.model.roi_head.bbox_head.shared_fcs
        with torch.no_grad():
            feature = by_hand(seen)['bbox_feats'].flatten(1)
            expected = shared[1](shared[0](feature).relu()).relu()
    torch.testing.assert_close(matched.teacher, expected)
    assert losses_of(model)['loss_kd_a'] > 0


def test_other_classes_may_share_features_only() -> None:
    fewer = teacher_of(faster_rcnn(roi_head__bbox_head=dict(num_classes=2)))
    message = r"student has 3 classes, teacher 'teacher' 2. Set model.teacher to one of"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(cls=pairs()['cls']), teacher=fewer))
    pair = dict(view='roi.features', loss=dict(type='HintLoss'))
    assert losses_of(distiller(dict(a=pair), teacher=fewer))['loss_kd_a'] > 0


def test_the_stage_of_a_layer_is_that_of_its_head() -> None:
    cascade, plain = MODELS.build(cascade_rcnn()), MODELS.build(faster_rcnn())
    assert stage_of(cascade, 'roi_head.bbox_head.1') == 1
    assert stage_of(cascade, 'roi_head.bbox_head.1.shared_fcs.0') == 1
    assert stage_of(cascade, 'roi_head.bbox_head') == 0
    assert stage_of(plain, 'roi_head.bbox_head.shared_fcs.1') == 0
