"""A teacher that is not better, or not what its files say, is found first."""

from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.apis.doctor.checks.teacher_score import check_teacher_score
from kd_plugins.apis.doctor.score import KINDS
from kd_plugins.apis.doctor.teachers import TeacherFacts

from .made import case, evaluation, images, model, results, save_teacher, unchecked

RMSE = KINDS[-1]


def test_a_teacher_worse_than_the_student_is_the_problem() -> None:
    first, *_ = results(check_teacher_score, case(validation=evaluation(0.38, 0.35)))
    assert first.severity == 'problem'
    assert first.sentence == (
        'The teacher is not better than the student: it scores 35.0 mAP, the student '
        '38.0 mAP, on all 10 validation images.'
    )
    assert 'Choose or train a better teacher' in first.remedy
    assert first.figures == pytest.approx({'teacher': 35.0, 'student': 38.0})


def test_an_equal_one_too() -> None:
    first, *_ = results(check_teacher_score, case(validation=evaluation(0.4, 0.4)))
    assert first.severity == 'problem'


def test_a_better_teacher_is_fine() -> None:
    first, *_ = results(check_teacher_score, case())
    assert (first.severity, first.remedy) == ('fine', '')


def test_of_an_error_the_smaller_is_better() -> None:
    better, worse = (
        results(check_teacher_score, case(validation=evaluation(2.0, rmse, key='rmse')))
        for rmse in (1.5, 2.5)
    )
    assert better[0].severity == 'fine'
    assert worse[0].severity == 'problem'
    assert '2.500 RMSE, the student 2.000 RMSE' in worse[0].sentence


@pytest.mark.parametrize(
    ('measured', 'number', 'total', 'severity'),
    [
        (0.70, 300, 300, 'fine'),
        (0.66, 300, 300, 'warning'),  # 6 % less, on all images
        (0.66, 200, 300, 'fine'),  # on some of them that is luck
        (0.66, 10, 10, 'fine'),  # on few too
        (0.45, 10, 10, 'problem'),
    ],
)
def test_a_score_behind_that_in_the_checkpoint_is_told(
    tmp_path: Path, measured: float, number: int, total: int, severity: str
) -> None:
    checkpoint = save_teacher(tmp_path / 'teacher.pth', mAP='0.702')
    of = case(
        model(checkpoint=checkpoint),
        validation=evaluation(0.3, measured),
        validation_images=images(number, total),
    )
    _, second = results(check_teacher_score, of)
    assert second.severity == severity
    assert 'its checkpoint says 70.2 mAP' in second.sentence
    assert ('python tools/test.py' in second.remedy) == (severity != 'fine')


def test_without_any_record_there_is_nothing_to_compare_with() -> None:
    _, second = results(check_teacher_score, case())
    assert second.severity == 'note'
    assert 'neither its checkpoint nor its config records a score' in second.sentence


def test_a_teacher_of_other_classes_has_no_score() -> None:
    (item,) = unchecked(check_teacher_score, case(validation=evaluation(0.4, None)))
    assert 'it knows other classes than the data (class_map)' in item.reason


def test_of_several_teachers_each_is_named() -> None:
    named = {'big': model()['teacher'], 'small': model()['teacher']}
    scores = evaluation()
    both = {'big': {'coco/bbox_mAP': 0.6}, 'small': {'coco/bbox_mAP': 0.2}}
    object.__setattr__(scores, 'teachers', both)
    of = case({**model(), 'teacher': named}, validation=scores)
    found = {item.sentence: item.severity for item in results(check_teacher_score, of)}
    (worse,) = [text for text in found if 'is not better' in text]
    assert worse.startswith("The teacher 'small' is not better than the student")


def facts(**content: object) -> TeacherFacts:
    teacher = TeacherFacts('teacher', {})
    teacher.__dict__['content'] = content
    return teacher


def test_scores_that_checkpoints_record() -> None:
    best = dict(best_ckpt='work/best_coco_bbox_mAP_epoch_9.pth', best_score=0.31)
    kind = KINDS[0]
    for content in (
        dict(message_hub=dict(runtime_info=best)),
        dict(meta=dict(hook_msgs=best | dict(best_ckpt='best_bbox_mAP_epoch_9.pth'))),
    ):
        claimed = facts(**content).claimed_score(kind)
        assert claimed is not None
        assert str(claimed[0]) == '31.0 mAP'
    # Of another metric than the one that is compared.
    assert facts(message_hub=dict(runtime_info=best)).claimed_score(RMSE) is None
    assert facts(meta=dict(mAP='good')).claimed_score(kind) is None


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('digits/faster-rcnn_r18-w32_fpn_4k_digits', '70.3 mAP'),
        ('mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128', '56.2 mIoU'),
        ('planes/depth_r18-w32_2k_planes-128x128', '1.463 RMSE'),
    ],
)
def test_embedded_teachers_say_it_in_both_files(name: str, said: str) -> None:
    path = f'kd_plugins::{name}'
    kind = next(kind for kind in KINDS if kind.unit == said.split()[1])
    entry = dict(cfg=f'{path}.py', checkpoint=f'{path}.safetensors')
    for teacher in (entry, dict(cfg=entry['cfg'])):
        claimed = TeacherFacts('teacher', Config(teacher)).claimed_score(kind)
        assert claimed is not None
        assert str(claimed[0]) == said
