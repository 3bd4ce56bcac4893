"""What a distillation came to is told beside what the configs record."""

import re
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.apis.recorded import (
    config_of_student_alone,
    recorded_score,
    score_rows,
)
from tests.configs.tree import CONFIGS, DISTILLATIONS, MAIN_JOBS, alone, header, name

RECORDING = [path for path in DISTILLATIONS if recorded_score(path)]


def rows(path: Path, **validated: float) -> dict[str, str]:
    return score_rows(Config.fromfile(path), validated)


def test_the_main_jobs_end_with_all_three_scores() -> None:
    assert rows(CONFIGS / 'frcnn_kd.py', **{'coco/bbox_mAP': 0.5284}) == {
        'student': '52.8 mAP',
        'teacher': '70.3 mAP, as recorded in its config',
        'student alone': '18.5 ± 1.3 mAP, as recorded in its config',
    }
    assert rows(CONFIGS / 'seg_skd.py', aAcc=80.0, mIoU=41.25) == {
        'student': '41.2 mIoU',
        'teacher': '56.2 mIoU, as recorded in its config',
        'student alone': '38.4 ± 1.3 mIoU, as recorded in its config',
    }


def test_a_teacher_that_was_validated_has_that_score_and_no_other() -> None:
    validated = {
        'coco/bbox_mAP_50': 0.6,
        'coco/bbox_mAP': 0.412,
        'fidelity/roi_kl': 1.0,
        'teacher/coco/bbox_mAP': 0.699,
    }
    found = rows(CONFIGS / 'frcnn_kd.py', **validated)
    assert found['student'] == '41.2 mAP'
    assert found['teacher'] == '69.9 mAP'


@pytest.mark.parametrize('path', MAIN_JOBS, ids=name)
def test_the_header_of_a_main_job_agrees_with_the_others(path: Path) -> None:
    text = re.sub(r'\n# ', ' ', header(path))
    baseline = config_of_student_alone(path)
    assert baseline is not None and baseline == alone(path)
    told = re.search(r'the student alone ([\d.]+), the teacher ([\d.]+)', text)
    scores = recorded_score(baseline), recorded_score(teacher_of(path))
    assert told is not None
    assert [f'{score.value}' for score in scores if score] == list(told.groups())


@pytest.mark.parametrize('path', RECORDING, ids=name)
def test_what_a_header_records_stands_in_the_readme(path: Path) -> None:
    score = recorded_score(path)
    assert score is not None
    folder = path.parent
    if folder == CONFIGS:
        folder /= {'frcnn_kd': 'chen2017', 'seg_skd': 'skd'}[path.stem]
    row = next(
        line
        for line in (folder / 'README.md').read_text().splitlines()
        if line.startswith('|') and path.name in line
    )
    assert f'{score.value}' in row


def teacher_of(path: Path) -> Path:
    cfg = Config.fromfile(path).model.teacher.cfg
    return CONFIGS / cfg.removeprefix('kd_plugins::')


@pytest.mark.parametrize(
    ('teacher', 'validated', 'expected'),
    [
        ({}, {}, {}),
        ({}, {'images': 1.0}, {}),
        ({}, {'coco/bbox_mAP': 0.25}, {'student': '25.0 mAP'}),
        ({}, {'pascal_voc/mAP': 0.5}, {'student': '0.500 pascal_voc/mAP'}),
        (
            {},
            {'rmse': 1.25, 'teacher/rmse': 1.0},
            {'student': '1.250 RMSE', 'teacher': '1.000 RMSE'},
        ),
        (
            {'cfg': 'kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.py'},
            {},
            {'teacher': '73.4 mAP, as recorded in its config'},
        ),
        ({'cfg': 'nope::a/b.py'}, {'mIoU': 3.0}, {'student': '3.0 mIoU'}),
        ({'big': {'cfg': 'a.py'}}, {'mIoU': 3.0}, {'student': '3.0 mIoU'}),
    ],
)
def test_what_is_not_known_is_not_told(
    teacher: Any, validated: dict[str, float], expected: dict[str, str]
) -> None:
    cfg = Config(dict(model=dict(type='kd_plugins.Distiller', teacher=teacher)))
    assert score_rows(cfg, validated) == expected


def test_a_header_without_a_score_records_none(tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    for text in (
        '# Cost and result: not run yet.\n',
        '# 50.0 mAP is what others say.\n',
        "a = '# Cost and result: 5 minutes; 50.0 mAP'\n",
    ):
        path.write_text(text)
        assert recorded_score(path) is None
    path.write_text('# Cost and result: 5 minutes on one\n# core; 50.0 ± 1.5\n# mAP.\n')
    assert str(recorded_score(path)) == '50.0 ± 1.5 mAP'
