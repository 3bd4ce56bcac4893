"""Mask logits of the RoIs that hold an object, of each one's own class."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.losses import softened_divergence
from kd_plugins.registry import MODELS
from kd_plugins.views.roi.masks import MaskRecorder
from tests.distillers.tiny import (
    CLASSES,
    cascade_rcnn,
    config,
    distiller,
    faster_rcnn,
    losses_of,
    mask_rcnn,
    observed,
    teacher_of,
)

pytestmark = pytest.mark.host
PAIR = dict(masks=dict(view='roi.masks', loss=dict(type='KDLoss')))


def with_masks(model: Any, **changes: Any) -> Any:
    """A model with the tiny mask head, changed."""
    changed = copy.deepcopy(model)
    changed.roi_head.mask_head.update(changes)
    return changed


def by_hand(seen: Any, model: Any, stage: int | None = None) -> tuple[Tensor, Tensor]:
    """Masks of both of each RoI's class, by the host's own forward, one by one."""
    own = seen.step.student.records[MaskRecorder()][stage or 0]
    drawn = []
    for each in (model.student, seen.run.model):
        with torch.no_grad():
            features = each.extract_feat(seen.inputs)
            arguments = (features, own.rois)
            if stage is not None:
                arguments = (stage, *arguments)
            logits = each.roi_head._mask_forward(*arguments)['mask_preds']
        rows = [
            row[min(int(label), len(row) - 1)]
            for row, label in zip(logits, own.labels, strict=True)
        ]
        drawn.append(torch.stack(rows)[:, None])
    return drawn[0], drawn[1]


@pytest.mark.parametrize('own', [False, True], ids=['specific', 'agnostic'])
@pytest.mark.parametrize('other', [False, True], ids=['specific', 'agnostic'])
def test_masks_are_those_of_each_rois_class(own: bool, other: bool) -> None:
    model = distiller(
        PAIR,
        student=with_masks(mask_rcnn(), class_agnostic=own),
        teacher=teacher_of(with_masks(mask_rcnn(base=8), class_agnostic=other)),
    )
    model.student.backbone.eval()  # so that a second forward gives the same
    with observed(model, masks=True) as seen:
        matched = seen.first('masks')
        recorded = seen.step.student.records[MaskRecorder()][0]
        student, teacher = by_hand(seen, model)
    rows = len(recorded.rois)
    assert rows > 2 and set(recorded.labels.tolist()) == {0, 1}
    assert matched.student.shape == (rows, 1, 8, 8)
    torch.testing.assert_close(matched.student, student)
    torch.testing.assert_close(matched.teacher, teacher)
    assert matched.student.requires_grad and not matched.teacher.requires_grad
    assert matched.context.activation == 'sigmoid' and matched.target is None
    assert matched.mask is not None and bool((matched.mask == 1).all())
    assert matched.count == rows * 64


def test_loss_is_a_yes_or_no_in_every_cell() -> None:
    model = distiller(PAIR, student=mask_rcnn(), teacher=teacher_of(mask_rcnn(base=8)))
    with observed(model, masks=True) as seen:
        matched = seen.first('masks')
        student, teacher = (
            item.detach().double().sigmoid().flatten()
            for item in (matched.student, matched.teacher)
        )
    total = 0.0
    for one, two in zip(student.tolist(), teacher.tolist(), strict=True):
        for p, q in ((one, two), (1 - one, 1 - two)):
            total += q * (torch.tensor(q).log() - torch.tensor(p).log()).item()
    losses = losses_of(model, masks=True)
    value = losses['loss_kd_masks']
    assert value.item() == pytest.approx(total / len(student), rel=1e-3)
    model.parse_losses(losses)[0].backward()
    head = model.student.roi_head.mask_head
    assert head.conv_logits.weight.grad.abs().sum() > 0


def test_the_students_own_copy_as_a_teacher_draws_the_same() -> None:
    model = distiller(PAIR, student=mask_rcnn(), teacher=teacher_of(mask_rcnn()))
    model.eval()
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    teacher.load_state_dict(model.student.state_dict())
    with observed(model, masks=True) as seen:
        matched = seen.first('masks')
        torch.testing.assert_close(matched.student, matched.teacher)


def test_a_teachers_masks_of_another_size_are_resized() -> None:
    finer = with_masks(mask_rcnn(base=8), upsample_cfg=dict(type='bilinear'))
    finer.roi_head.mask_head.upsample_cfg.scale_factor = 4
    finer.roi_head.mask_head.predictor_cfg = dict(type='Conv')
    model = distiller(PAIR, student=mask_rcnn(), teacher=teacher_of(finer))
    with observed(model, masks=True) as seen:
        _, teacher = by_hand(seen, model)
        matched = seen.first('masks')
    assert teacher.shape[2:] == (16, 16) and matched.teacher.shape[2:] == (8, 8)
    halves = torch.nn.functional.avg_pool2d(teacher, 2)  # bilinear, of half the size
    torch.testing.assert_close(matched.teacher, halves)


def test_each_stage_of_a_cascade_draws_its_own() -> None:
    cascades = []
    for base in (4, 8):
        model = cascade_rcnn(base=base)
        model.roi_head.mask_head = mask_rcnn().roi_head.mask_head
        model.roi_head.mask_roi_extractor = mask_rcnn().roi_head.mask_roi_extractor
        for stage in model.train_cfg.rcnn:
            stage.mask_size = 8
        cascades.append(model)
    model = distiller(PAIR, student=cascades[0], teacher=teacher_of(cascades[1]))
    names = [place.name for place in model.pairs[0].tensors]
    assert names == ['roi.masks stage 0', 'roi.masks stage 1']
    model.student.backbone.eval()
    with observed(model, masks=True) as seen:
        for stage in (0, 1):
            matched = seen.matched['masks'][stage]
            assert matched is not None and matched.context.stage == stage
            student, teacher = by_hand(seen, model, stage)
            torch.testing.assert_close(matched.student, student)
            torch.testing.assert_close(matched.teacher, teacher)


def test_images_without_objects_give_a_zero_with_a_graph() -> None:
    model = distiller(PAIR, student=mask_rcnn(), teacher=teacher_of(mask_rcnn(base=8)))
    value = losses_of(model, masks=True, boxes=([], []))['loss_kd_masks']
    assert value == 0
    value.backward()


def test_an_enlarged_teacher_draws_the_same_places() -> None:
    model = distiller(
        PAIR,
        student=mask_rcnn(),
        teacher=teacher_of(mask_rcnn(base=8), input_scale=2.0),
    )
    with observed(model, masks=True) as seen:
        rois = seen.step.student.records[MaskRecorder()][0].rois.detach().clone()
        labels = seen.step.student.records[MaskRecorder()][0].labels
        rois[:, 1:] *= 2
        teacher = seen.run.model
        with torch.no_grad():
            features = teacher.extract_feat(seen.inputs)
            logits = teacher.roi_head._mask_forward(features, rois)['mask_preds']
        expected = logits[torch.arange(len(rois)), labels][:, None]
        torch.testing.assert_close(seen.first('masks').teacher, expected)


def test_classes_of_another_teacher_go_by_name() -> None:
    names = dict(student=('a', 'b', 'c'), teacher=('c', 'a'))
    other = mask_rcnn(base=8, roi_head__bbox_head=dict(num_classes=2))
    other.roi_head.mask_head.num_classes = 2
    teacher = teacher_of(other, class_map=names)
    model = distiller(PAIR, student=mask_rcnn(), teacher=teacher)
    with observed(model, masks=True) as seen:
        matched = seen.first('masks')
        own = seen.step.student.records[MaskRecorder()][0]
        with torch.no_grad():
            features = seen.run.model.extract_feat(seen.inputs)
            logits = seen.run.model.roi_head._mask_forward(features, own.rois)
    known = own.labels == 0  # 'b' is not the teacher's
    assert 0 < known.sum() < len(known)
    expected = logits['mask_preds'][known, 1][:, None]
    torch.testing.assert_close(matched.teacher[known], expected)
    assert matched.mask is not None and matched.count == 64 * known.sum()
    assert torch.equal(matched.mask[:, 0, 0], known.float())
    value = losses_of(model, masks=True)['loss_kd_masks']
    shared = softened_divergence(
        matched.student[known], matched.teacher[known], use_sigmoid=True
    )
    torch.testing.assert_close(value, shared)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(teacher=teacher_of(faster_rcnn())),
            r"view \(teacher\): FasterRCNN has no mask head: 'roi\.masks' reads",
        ),
        (dict(student=faster_rcnn()), r'\(student\): FasterRCNN has no mask head'),
        (
            dict(teacher=teacher_of(with_masks(mask_rcnn(), type='mmdet.HTCMaskHead'))),
            r"draws masks by a HTCMaskHead of a StandardRoIHead: 'roi\.masks' knows",
        ),
        (
            dict(teacher=teacher_of(with_masks(mask_rcnn(), num_classes=2))),
            rf'student has {CLASSES} classes, teacher .teacher. 2\.',
        ),
    ],
)
def test_what_draws_no_masks_is_refused(options: Any, message: str) -> None:
    masks = dict(student=mask_rcnn(), teacher=teacher_of(mask_rcnn()))
    cfg = config(PAIR, **(masks | options))
    with pytest.raises(ConfigError, match=message):
        MODELS.build(cfg)


def test_a_mask_head_that_did_not_run_is_said() -> None:
    model = distiller(PAIR, student=mask_rcnn(), teacher=teacher_of(mask_rcnn()))
    model.student.forward = lambda *args, **kwargs: {}  # computes no losses
    message = r"model.pairs.masks: .* mask head did not run while it .*'roi.masks' has"
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


def test_masks_are_of_the_students_rois_only() -> None:
    view = dict(type='roi.masks', roi_source='teacher')
    pair = dict(masks=dict(view=view, loss=dict(type='KDLoss')))
    with pytest.raises(ConfigError, match=r"'roi\.masks' needs the labels assigned"):
        MODELS.build(config(pair, student=mask_rcnn()))
