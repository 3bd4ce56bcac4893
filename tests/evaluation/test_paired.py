"""Student and teachers on the same images, each as its host validates it."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator

from kd_plugins.evaluation.paired import evaluate_paired
from tests.distillers.runs import TinyImages
from tests.distillers.tiny import distiller, faster_rcnn, hint, raw_batch, teacher_of
from tests.distillers.tiny_seg import TinySegments, segmentor
from tests.distillers.tiny_teachers import ensemble, with_teacher_images


def batches(dataset: Any, size: int = 2) -> list[dict[str, Any]]:
    torch.manual_seed(0)  # the images are noisy
    items = [dataset[index] for index in range(len(dataset))]
    return [
        pseudo_collate(items[start : start + size])
        for start in range(0, len(items), size)
    ]


def evaluator(kind: str = 'CountBoxes', **options: Any) -> Evaluator:
    made = Evaluator(dict(type=kind, **options))
    made.dataset_meta = TinySegments.metainfo
    return made


def of_detectors(**student: Any) -> Any:
    return distiller({'hint': hint()}, faster_rcnn(**student))


def copy_student(model: Any) -> None:
    """The teacher is the student itself."""
    (teacher,) = model.teachers.values()
    teacher.prepare(torch.device('cpu'))
    teacher.model.load_state_dict(model.student.state_dict())


SCORES = dict(test_cfg__rcnn=dict(score_thr=0.0))


def test_a_teacher_that_is_the_student_agrees_with_it() -> None:
    model = distiller(
        {'hint': hint()}, faster_rcnn(**SCORES), teacher_of(faster_rcnn(**SCORES))
    )
    copy_student(model)
    found = evaluate_paired(model, batches(TinyImages()), evaluator, score_thr=0.0)
    assert found.images == 4
    assert found.student == found.teachers['teacher'] == {'images': 4.0}
    assert found.without == {}
    fidelity = found.fidelity['teacher']
    assert fidelity['agreement'] == fidelity['recall'] == 1.0
    assert fidelity['ece_student'] == fidelity['ece_teacher']


def segmentors(**teacher: Any) -> Any:
    return distiller(
        {'logits': dict(view='seg.logits', loss=dict(type='PixelWiseLoss'))},
        segmentor(),
        teacher_of(segmentor(), **teacher),
    )


def iou() -> Evaluator:
    return evaluator('mmseg.IoUMetric')


def test_another_teacher_agrees_less_and_scores_otherwise() -> None:
    model = segmentors()
    copy_student(model)
    same = evaluate_paired(model, batches(TinySegments()), iou)
    assert same.fidelity['teacher']['agreement'] == 1.0
    assert same.student['mIoU'] == same.teachers['teacher']['mIoU']
    head = model.teachers['teacher'].model.decode_head.conv_seg
    with torch.no_grad():
        head.bias += torch.tensor([9.0, 0.0, 0.0, 0.0])
    other = evaluate_paired(model, batches(TinySegments()), iou)
    assert other.fidelity['teacher']['agreement'] < 0.9
    assert other.student == same.student
    assert other.teachers['teacher']['mIoU'] != same.student['mIoU']


def test_nothing_of_the_distiller_changes() -> None:
    model = segmentors()
    weights = copy.deepcopy(model.state_dict())
    loaded = batches(TinySegments())

    def drawing() -> Iterator[dict[str, Any]]:
        for batch in loaded:
            torch.rand(3)
            yield batch

    state = torch.get_rng_state()
    evaluate_paired(model.train(), drawing(), iou)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(weights[name], value) for name, value in weights.items())


def test_predictions_that_cannot_be_compared_are_scored_all_the_same() -> None:
    model = segmentors()
    loss = model.student.decode_head.loss_decode
    loss.use_sigmoid = True
    found = evaluate_paired(model, batches(TinySegments()), iou)
    assert found.fidelity == {}
    assert 'scores each class by a sigmoid' in found.without['teacher']
    assert 'Remove the hook' not in found.without['teacher']
    assert 'mIoU' in found.teachers['teacher']


def test_a_teacher_of_other_classes_has_no_score() -> None:
    names = tuple('abcd')
    model = segmentors(class_map=dict(student=names, teacher=names))
    found = evaluate_paired(model, batches(TinySegments()), iou)
    assert found.teachers == {}
    assert 'agreement' in found.fidelity['teacher']


def test_coco_metrics_count_the_images_that_were_looked_at() -> None:
    made: list[Any] = []

    def numbered() -> Evaluator:
        made.append(evaluator())
        made[-1].metrics[0].img_ids = None
        return made[-1]

    raw = raw_batch()
    for number, sample in enumerate(raw['data_samples']):
        sample.set_metainfo(dict(img_id=7 - number))
    evaluate_paired(of_detectors(), [raw], numbered)
    assert [item.metrics[0].img_ids for item in made] == [[6, 7], [6, 7]]


@pytest.mark.parametrize(
    ('value', 'kept'), [(np.float32(0.5), True), (float('nan'), False), ('text', False)]
)
def test_only_finite_numbers_are_metrics(value: Any, kept: bool) -> None:
    def odd() -> Evaluator:
        made = evaluator()
        made.metrics[0].compute_metrics = lambda results: dict(odd=value)
        return made

    found = evaluate_paired(of_detectors(), [raw_batch()], odd)
    assert found.student == ({'odd': 0.5} if kept else {})


def test_members_are_scored_one_by_one_and_a_privileged_teacher_by_its_images() -> None:
    logits = dict(view='seg.logits', loss=dict(type='PixelWiseLoss'))
    pairs = dict(a=logits | dict(teacher='many'), b=logits | dict(teacher='rich'))
    rich = dict(type='Privileged', **teacher_of(segmentor(), input_scale=2.0))
    teachers = dict(many=ensemble(segmentor(8), segmentor(6)), rich=rich)
    model = distiller(pairs, segmentor(), teachers)
    found = evaluate_paired(model, batches(TinySegments()), iou)
    assert list(found.teachers) == ['many.0', 'many.1']  # the others hold no image
    assert "holds no image 'teacher_image'" in found.without['rich']
    given = [with_teacher_images(each, scale=2.0) for each in batches(TinySegments())]
    found = evaluate_paired(model, given, iou)
    assert list(found.teachers) == ['many.0', 'many.1', 'rich']
    assert found.without == {} and found.teachers['rich']['mIoU'] > 0
