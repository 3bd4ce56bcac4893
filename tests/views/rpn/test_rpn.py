"""RPN heads are compared at the anchors that the student's own loss sampled."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.views.rpn.outputs import RPNRecorder
from tests.distillers.tiny import (
    batch,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    teacher_of,
)

PAIRS = dict(
    cls=dict(view='rpn.logits', loss=dict(type='WeightedClassKDLoss')),
    reg=dict(view='rpn.deltas', loss=dict(type='TeacherBoundedLoss')),
)
SOFTMAX = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False)


def sampled_rows(model: Any, seen: Any, seed: int = 3) -> list[dict[str, Tensor]]:
    """By hand, anchor by anchor, with the targets of the host's own call."""
    head, teacher = model.student.rpn_head, seen.run.model
    prepared = batch(model)
    with torch.no_grad():
        outputs = head(model.student.extract_feat(prepared['inputs']))
        others = teacher.rpn_head(teacher.extract_feat(seen.inputs))
    metas = [sample.metainfo for sample in prepared['data_samples']]
    anchors, valid = head.get_anchors(
        [item.shape[-2:] for item in outputs[0]], metas, device='cpu'
    )
    truths = [sample.gt_instances.clone() for sample in prepared['data_samples']]
    for truth in truths:
        truth.labels = torch.zeros_like(truth.labels)
    torch.manual_seed(seed)
    labels, weights, targets, *_ = head.get_targets(anchors, valid, truths, metas)
    rows, columns = [], head.cls_out_channels
    for level, (label, weight, target) in enumerate(
        zip(labels, weights, targets, strict=True)
    ):
        width = outputs[0][level].shape[-1]
        for image, anchor in weight.nonzero().tolist():
            cell, kind = divmod(anchor, head.num_base_priors)
            row, column = divmod(cell, width)
            at = (image, slice(kind * columns, (kind + 1) * columns), row, column)
            box = (image, slice(kind * 4, kind * 4 + 4), row, column)
            rows.append(
                dict(
                    positive=label[image, anchor] == 0,
                    target=target[image, anchor],
                    anchor=anchors[image][level][anchor],
                    logits=outputs[0][level][at],
                    deltas=outputs[1][level][box],
                    teacher_logits=others[0][level][at],
                    teacher_deltas=others[1][level][box],
                )
            )
    return rows


def built(student: Any = None, teacher: Any = None) -> Any:
    model = distiller(
        PAIRS,
        student=student or faster_rcnn(),
        teacher=teacher_of(teacher or faster_rcnn(base=8, width=16)),
    )
    model.eval()  # batch norm gives the same a second time
    return model


def stack(rows: list[dict[str, Tensor]], name: str) -> Tensor:
    return torch.stack([row[name] for row in rows])


@pytest.mark.parametrize('sigmoid', [True, False])
def test_rows_are_those_of_the_hosts_targets(sigmoid: bool) -> None:
    changes = {} if sigmoid else dict(rpn_head__loss_cls=SOFTMAX)
    model = built(faster_rcnn(**changes), faster_rcnn(base=8, **changes))
    with observed(model) as seen:
        rows = sampled_rows(model, seen)
        logits, deltas = seen.first('cls'), seen.first('reg')
    assert len(rows) == logits.count == deltas.count
    assert 0 < sum(row['positive'] for row in rows) < len(rows) <= 48
    assert logits.student.shape == (len(rows), 1 if sigmoid else 2)
    torch.testing.assert_close(logits.student, stack(rows, 'logits'))
    torch.testing.assert_close(logits.teacher, stack(rows, 'teacher_logits'))
    torch.testing.assert_close(deltas.student, stack(rows, 'deltas'))
    torch.testing.assert_close(deltas.teacher, stack(rows, 'teacher_deltas'))
    positive = stack(rows, 'positive')
    assert deltas.mask.dtype == torch.float32
    assert torch.equal(deltas.mask, positive.float())
    torch.testing.assert_close(deltas.target[positive], stack(rows, 'target')[positive])
    assert logits.context.activation == ('sigmoid' if sigmoid else 'softmax')
    assert logits.context.background == (None if sigmoid else 1)
    assert torch.equal(logits.target == (1 if sigmoid else 0), positive)
    assert logits.student.requires_grad and not logits.teacher.requires_grad


def test_deltas_are_said_in_the_students_coding() -> None:
    stds = dict(target_stds=[0.5, 0.5, 0.25, 0.25], target_means=[0.1, 0.0, 0.0, 0.0])
    model = built(teacher=faster_rcnn(rpn_head__bbox_coder=stds))
    with observed(model) as seen:
        rows = sampled_rows(model, seen)
        deltas = seen.first('reg')
    boxes = stack(rows, 'anchor')
    decoded = seen.run.model.rpn_head.bbox_coder.decode(
        boxes, stack(rows, 'teacher_deltas')
    )
    expected = model.student.rpn_head.bbox_coder.encode(boxes, decoded)
    torch.testing.assert_close(deltas.teacher, expected, rtol=1e-3, atol=1e-4)


def test_targets_of_a_student_that_regresses_boxes_are_coded() -> None:
    plain = built()
    model = built(faster_rcnn(rpn_head__reg_decoded_bbox=True))
    model.load_state_dict(plain.state_dict())
    with observed(plain) as seen:
        expected = seen.first('reg')
    with observed(model) as seen:
        deltas = seen.first('reg')
    positive = expected.mask.bool()
    assert torch.equal(deltas.mask, expected.mask)
    torch.testing.assert_close(
        deltas.target[positive], expected.target[positive], rtol=1e-4, atol=1e-5
    )
    assert deltas.target.isfinite().all()


def test_a_teacher_with_larger_padding_is_compared_at_the_same_anchors() -> None:
    model = built(teacher=faster_rcnn(data_preprocessor__pad_size_divisor=96))
    with observed(model) as seen:
        rows = sampled_rows_of_padded(seen)
        torch.testing.assert_close(seen.first('cls').teacher, rows)


def sampled_rows_of_padded(seen: Any) -> Tensor:
    assert seen.inputs.shape[-2:] == (96, 96)
    with torch.no_grad():
        maps, _ = seen.run.model.rpn_head(seen.run.model.extract_feat(seen.inputs))
    side = [16, 8, 4]
    cropped = [item[..., :s, :s] for item, s in zip(maps, side, strict=True)]
    weights = seen.step.student.records[RPNRecorder()].targets[1]
    rows = [
        item.permute(0, 2, 3, 1).reshape(2, -1)[weight > 0]
        for item, weight in zip(cropped, weights, strict=True)
    ]
    return torch.cat(rows)[:, None]


def test_the_students_own_copy_as_a_teacher_answers_the_same() -> None:
    model = built(teacher=faster_rcnn())
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    teacher.load_state_dict(model.student.state_dict())
    with observed(model) as seen:
        for name in ('cls', 'reg'):
            matched = seen.first(name)
            torch.testing.assert_close(matched.student, matched.teacher)


def test_images_without_boxes_have_negatives_only() -> None:
    model = distiller(PAIRS)
    losses = losses_of(model, boxes=([], []))
    assert losses['loss_kd_reg'].item() == 0
    assert losses['loss_kd_cls'] > 0
    model.parse_losses(losses)[0].backward()
    grads = [item.grad for item in model.student.rpn_head.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_sampled_anchors_are_found_once_for_all_pairs() -> None:
    with observed(distiller(PAIRS)) as seen:
        own = seen.step.student.records[RPNRecorder()]
        assert vars(own)['sampled'] is own.sampled  # kept
        assert len(own.sampled) == len(seen.first('cls').student)
