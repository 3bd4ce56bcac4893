"""What of a prediction is compared where the teacher knows other classes."""

from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from kd_plugins.evaluation.fidelity import agreement, predictive_divergence
from kd_plugins.evaluation.fidelity.readers import BoxReader, PixelReader
from kd_plugins.teachers.class_map import read_class_map

# Shared: 'a', number 0, and 'c', number 1.
CLASSES = read_class_map(dict(student=list('abc'), teacher=list('cxay')))


class Sample(dict[str, Any]):
    """As a host's: what it holds are attributes."""

    __getattr__ = dict.__getitem__


def instances(labels: list[int], **more: Any) -> InstanceData:
    boxes = torch.tensor([[10.0 * n, 0, 10.0 * n + 10, 10] for n in range(len(labels))])
    return InstanceData(bboxes=boxes, labels=torch.tensor(labels), **more)


def test_boxes_of_shared_classes_have_their_numbers() -> None:
    reader = BoxReader(0.3, CLASSES)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.1])
    truth = Sample(gt_instances=instances([0, 1, 0]))
    student = Sample(pred_instances=instances([0, 1, 2, 0], scores=scores))
    teacher = Sample(pred_instances=instances([2, 0, 1, 2], scores=scores))
    student_boxes = reader.read(student, truth, 'student')
    teacher_boxes = reader.read(teacher, truth, 'teacher')
    assert student_boxes.labels.tolist() == [0, 1] and student_boxes.boxes[
        :, 0
    ].tolist() == [0, 20]
    assert teacher_boxes.labels.tolist() == [0, 1] and teacher_boxes.boxes[
        :, 0
    ].tolist() == [0, 10]
    reader.add(student_boxes, teacher_boxes, truth)
    values = reader.fidelity.values()
    # One of two matches, of the same class; 'b' is annotated, and does not count.
    assert values['recall'] == values['precision'] == 0.5
    assert values['agreement'] == 1
    # The student's 0.9 is right, its 0.7 is of another class than annotated there.
    assert values['ece_student'] == pytest.approx((0.1 + 0.7) / 2)


@pytest.mark.parametrize('ignored', [255, None, 2])
def test_pixels_of_shared_classes_alone(ignored: int | None) -> None:
    reader = PixelReader(ignored, 100, CLASSES)
    labels = torch.tensor([[0, 1, 2], [255, 0, 2]])
    truth: dict[str, Any] = dict(gt_sem_seg=PixelData(data=labels[None]))
    logits = dict(student=torch.randn(3, 2, 3), teacher=torch.randn(4, 2, 3))
    rows = {
        which: reader.read(
            Sample(seg_logits=PixelData(data=data)), Sample(truth), which
        )
        for which, data in logits.items()
    }
    shared = [0, 2, 4, 5] if ignored != 2 else [0, 4]
    student_rows = logits['student'].flatten(1)[[0, 2]][:, shared].T
    teacher_rows = logits['teacher'].flatten(1)[[2, 0]][:, shared].T
    assert torch.equal(rows['student'], student_rows) and torch.equal(
        rows['teacher'], teacher_rows
    )
    reader.add(rows['student'], rows['teacher'], Sample(truth))
    values = reader.fidelity.values()
    assert values['agreement'] == pytest.approx(
        agreement(student_rows, teacher_rows).item()
    )
    divergence = predictive_divergence(student_rows, teacher_rows).item()
    assert values['kl'] == pytest.approx(divergence, rel=1e-5)
    confidence, predicted = student_rows.softmax(1).max(1)
    numbers = torch.tensor([0, 1, 0, 1] if ignored != 2 else [0, 0])
    right = predicted == numbers
    bins = (confidence * 10).ceil()
    expected = sum(
        abs((right[bins == each].double() - confidence[bins == each]).sum().item())
        for each in bins.unique()
    )
    assert values['ece_student'] == pytest.approx(expected / len(shared), rel=1e-5)


def test_without_a_map_all_are_compared() -> None:
    boxes = instances([0, 1, 2], scores=torch.tensor([0.9, 0.8, 0.7]))
    found = BoxReader(0.3, None).read(Sample(pred_instances=boxes), Sample(), 'teacher')
    assert found.labels.tolist() == [0, 1, 2]
