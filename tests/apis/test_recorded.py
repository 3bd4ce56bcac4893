"""What a distillation came to is told beside what the configs record."""

import re
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.apis.recorded import (
    config_of_student_alone,
    recorded_score,
    result_sentence,
)
from tests.configs.tree import CONFIGS, DISTILLATIONS, MAIN_JOBS, alone, header, name

RECORDING = [path for path in DISTILLATIONS if recorded_score(path)]


def sentence(path: Path, **validated: float) -> str | None:
    return result_sentence(Config.fromfile(path), validated)


def test_the_main_jobs_end_with_all_three_scores() -> None:
    assert sentence(CONFIGS / 'frcnn_kd.py', **{'coco/bbox_mAP': 0.5284}) == (
        'The student scores 52.8 mAP; the same student without a teacher 18.5 ± 1.3 '
        'mAP; its teacher 70.3 mAP (as recorded in the headers of their configs).'
    )
    assert sentence(CONFIGS / 'seg_skd.py', aAcc=80.0, mIoU=41.25) == (
        'The student scores 41.2 mIoU; the same student without a teacher 38.4 ± 1.3 '
        'mIoU; its teacher 56.2 mIoU (as recorded in the headers of their configs).'
    )


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
        ({}, {}, None),
        ({}, {'any': 1.0}, None),
        ({}, {'coco/bbox_mAP': 0.25}, 'The student scores 25.0 mAP.'),
        (
            {'cfg': 'kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.py'},
            {'mIoU': 3.0},  # of another task than the teacher's
            'Its teacher scores 73.4 mAP '
            '(as recorded in the headers of their configs).',
        ),
        ({'cfg': 'nope::a/b.py'}, {'mIoU': 3.0}, 'The student scores 3.0 mIoU.'),
        ({'big': {'cfg': 'a.py'}}, {'mIoU': 3.0}, 'The student scores 3.0 mIoU.'),
    ],
)
def test_what_is_not_known_is_not_told(
    teacher: Any, validated: dict[str, float], expected: str | None
) -> None:
    cfg = Config(dict(model=dict(type='kd_plugins.Distiller', teacher=teacher)))
    assert result_sentence(cfg, validated) == expected


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
