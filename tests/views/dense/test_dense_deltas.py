"""Boxes of one-stage heads at the student's positives, and what they should be."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import teacher_bounded_regression
from kd_plugins.views.dense.assignment import TargetsRecorder
from kd_plugins.views.dense.heads import DenseHeadRecorder
from tests.distillers.tiny import (
    BOXES,
    CLASSES,
    distiller,
    losses_of,
    observed,
    teacher_of,
)
from tests.distillers.tiny_dense import atss, fcos, gfl, retinanet, rtmdet

pytestmark = pytest.mark.host


def normalised(base: int = 4, width: int = 8) -> dict[str, Any]:
    return fcos(base, width, norm_on_bbox=True)


def decoded_retinanet(base: int = 4, width: int = 8) -> dict[str, Any]:
    loss = dict(type='mmdet.GIoULoss')
    return retinanet(base, width, reg_decoded_bbox=True, loss_bbox=loss)


MODELS = dict(
    fcos=fcos,
    normalised=normalised,
    retinanet=retinanet,
    decoded=decoded_retinanet,
    atss=atss,
    gfl=gfl,
    rtmdet=rtmdet,
)


def build(student: Any, teacher: Any = None, loss: Any = 'TeacherBoundedLoss') -> Any:
    return distiller(
        dict(a=dict(view='head.deltas', loss=dict(type=loss))),
        student=student,
        teacher=teacher_of(teacher or student),
    )


def positives_of(labels: Any, anchors: int) -> list[tuple[int, int, int, int]]:
    """Level, image, cell and anchor of each, of labels (N, H W A) a level."""
    found = []
    for level, rows in enumerate(labels):
        for image, row in (rows.reshape(2, -1) < CLASSES).nonzero().tolist():
            found.append((level, image, *divmod(row, anchors)))
    return found


def read(head: Any, maps: Any, place: tuple[int, int, int, int]) -> Tensor:
    """What a head gives for one anchor, by hand; of GFL the expected place."""
    level, image, cell, anchor = place
    whole = maps[level][image].flatten(1)[:, cell]
    found = whole.view(head.prior_generator.num_base_priors[0], -1)[anchor]
    if hasattr(head, 'integral'):
        (found,) = head.integral(found[None])
    return found


@pytest.mark.parametrize('kind', MODELS)
def test_rows_and_targets_are_those_of_the_hosts_loss(kind: str) -> None:
    model = build(MODELS[kind](), MODELS[kind](8, 16))
    head = model.student.bbox_head
    calls: list[Any] = []
    head.loss_bbox.register_forward_pre_hook(lambda _, args: calls.append(args))
    with observed(model) as seen:
        found = seen.first('a')
        own = seen.step.student.records[DenseHeadRecorder()][-1][1]
        targets = seen.step.student.records[TargetsRecorder()][-1]
        teacher = seen.run.model.bbox_head
        with torch.no_grad():
            its = teacher(seen.run.model.extract_feat(seen.inputs))[1]
    points = kind in ('fcos', 'normalised')
    labels = (
        targets[0]
        if points or head.__class__.__name__ == 'RetinaHead'
        else (targets[1])
    )
    places = positives_of(labels, head.prior_generator.num_base_priors[0])
    grids = head.prior_generator.grid_priors(
        [item.shape[2:] for item in own], device='cpu'
    )
    anchors = head.prior_generator.num_base_priors[0]
    priors = torch.stack(
        [grids[level][cell * anchors + anchor] for level, _, cell, anchor in places]
    )
    strides = torch.tensor([4.0 * 2 ** place[0] for place in places])[:, None]
    rows = torch.stack([read(head, own, place) for place in places])
    answers = torch.stack([read(teacher, its, place) for place in places])
    # In pixels, and of a teacher that runs in `eval`, but of GFL in strides.
    in_pixels = dict(fcos=strides, rtmdet=strides).get(kind, torch.ones(()))
    assert_close(found.student, rows / in_pixels)
    taught = strides if kind == 'normalised' else in_pixels
    assert_close(found.teacher, answers / taught)
    assert found.student.requires_grad and found.count == len(rows) > 3
    assert found.mask is None

    host = [torch.cat([call[item] for call in calls]) for item in (0, 1)]
    if kind in ('retinanet', 'decoded'):  # of all anchors, those with a weight
        kept = torch.cat([call[2] for call in calls]).any(dim=1)
        host = [item[kept] for item in host]
    if kind == 'gfl':  # the host compares boxes in strides, around the centres
        priors = (priors[:, :2] + priors[:, 2:]) / 2 / strides
    for ours, expected in zip((found.student, found.target), host, strict=True):
        assert ours is not None
        if kind != 'retinanet':
            ours = head.bbox_coder.decode(priors, ours * in_pixels)
        assert_close(ours, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize('kind', ['retinanet', 'atss'])
def test_targets_are_boxes_coded_by_the_students_coder(kind: str) -> None:
    model = build(MODELS[kind]())
    coder = model.student.bbox_head.bbox_coder
    encoded: list[Any] = []
    encode = coder.encode

    def watched(anchors: Any, boxes: Any) -> Any:
        encoded.append((anchors, boxes, encode(anchors, boxes)))
        return encoded[-1][2]

    coder.encode = watched
    with observed(model) as seen:
        target = seen.first('a').target
    assert target is not None and encoded
    boxes = torch.cat([torch.tensor(item).float() for item in BOXES])
    for anchors, assigned, _ in encoded:
        for anchor, box in zip(anchors, assigned, strict=True):
            assert (box == boxes).all(dim=1).any()  # one of the ground truth
            expected = encode(anchor[None], box[None])
            assert torch.isclose(target, expected).all(dim=1).any()


def test_targets_of_gfl_reach_no_farther_than_its_last_bin() -> None:
    few = gfl(), gfl(8, 16)
    for each in few:
        each['bbox_head']['reg_max'] = 2
    model = build(*few)
    calls: list[Tensor] = []
    model.student.bbox_head.loss_dfl.register_forward_pre_hook(
        lambda _, args: calls.append(args[1])
    )
    with observed(model) as seen:
        target = seen.first('a').target
    assert target is not None and (target == target.max()).sum() > 1
    assert_close(target.flatten(), torch.cat(calls))


def test_a_teacher_of_another_coding_is_said_in_the_students() -> None:
    coder = dict(type='mmdet.DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
    with observed(build(retinanet(), retinanet(8, 16))) as seen:
        plain = seen.first('a')
    model = build(retinanet(), retinanet(8, 16, bbox_coder=coder))
    with observed(model) as seen:
        found = seen.first('a')
    stds = torch.tensor(coder['target_stds'])
    assert_close(found.teacher, plain.teacher * stds)
    assert_close(found.student, plain.student)


def test_normalised_distances_teach_plain_ones() -> None:
    """The same unit, whatever the head's own, in training and in eval."""
    for teacher in (fcos(8, 16), normalised(8, 16)):
        with observed(build(normalised(), teacher)) as seen:
            normal = seen.first('a')
        with observed(build(fcos(), teacher)) as seen:
            plain = seen.first('a')
        assert_close(normal.target, plain.target)
        assert_close(normal.teacher, plain.teacher)


@pytest.mark.parametrize('kind', ['fcos', 'retinanet', 'gfl'])
def test_losses_of_boxes_reach_the_student(kind: str) -> None:
    pairs = {
        name: dict(view='head.deltas', loss=dict(type=name))
        for name in ('TeacherBoundedLoss', 'DeltaL2Loss', 'AILLoss')
    }
    model = distiller(
        pairs, student=MODELS[kind](), teacher=teacher_of(MODELS[kind](8, 16))
    )
    with observed(model) as seen:
        found = seen.first('TeacherBoundedLoss')
        assert found.target is not None
        expected = teacher_bounded_regression(
            found.student, found.teacher, found.target
        )
    losses = losses_of(model)
    assert_close(losses['loss_kd_TeacherBoundedLoss'], expected)
    total = sum(losses[f'loss_kd_{name}'] for name in pairs)
    total.backward()
    layer = dict(fcos='conv_reg', retinanet='retina_reg', gfl='gfl_reg')[kind]
    assert getattr(model.student.bbox_head, layer).weight.grad.abs().sum() > 0
    assert 'head.deltas' in model.summary() and 'Rx4' in model.summary()


@pytest.mark.parametrize('kind', MODELS)
def test_without_boxes_there_are_no_rows(kind: str) -> None:
    model = build(MODELS[kind]())
    with observed(model, boxes=([], [])) as seen:
        found = seen.first('a')
        assert found.student.shape == found.teacher.shape == (0, 4)
        assert found.target is not None and found.target.shape == (0, 4)
        assert found.count == 0
    loss = losses_of(model, boxes=([], []))['loss_kd_a']
    assert loss == 0 and loss.requires_grad


@pytest.mark.parametrize(
    ('student', 'teacher', 'message'),
    [
        (
            atss(),
            gfl(8, 16),
            'ATSSHead of the student says a box as deltas of its anchors, GFLHead of '
            'the teacher as distances of its edges',
        ),
        (
            retinanet(bbox_coder=dict(type='mmdet.TBLRBBoxCoder')),
            retinanet(8, 16),
            r'\(student\): head\.deltas reads .* a RetinaHead with a TBLRBBoxCoder',
        ),
        (
            retinanet(),
            retinanet(
                type='mmdet.FreeAnchorRetinaHead',
                loss_bbox=dict(type='mmdet.SmoothL1Loss'),
            ),
            r'\(teacher\): head\.deltas reads .* bbox_head is a FreeAnchorRetinaHead',
        ),
        (fcos(), retinanet(), 'RetinaHead of the teacher as deltas of its anchors'),
    ],
)
def test_boxes_that_cannot_be_compared_are_refused(
    student: Any, teacher: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(student, teacher)


def test_deltas_have_no_region() -> None:
    view = dict(type='head.deltas', region='vlr')
    message = r"pairs\.a\.view: .* has no argument 'region'"
    with pytest.raises(ConfigError, match=message):
        distiller(dict(a=dict(view=view, loss=dict(type='DeltaL2Loss'))))
