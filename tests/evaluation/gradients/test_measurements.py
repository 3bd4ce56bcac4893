"""Shares over a run: written a line each, and read back over all its attempts."""

import json
import math
from pathlib import Path

import pytest

from kd_plugins.evaluation.gradients import (
    ShareMeasurement,
    append_measurement,
    measurement_of,
    read_shares,
)

from .test_shares import pair, shares


def measured(iteration: int, started: int = 0, weight: float = 0.1) -> ShareMeasurement:
    return measurement_of(
        shares(hint=pair(10.0, weight=weight)),
        started=started,
        iteration=iteration,
        max_iterations=1000,
        wanted={'hint': 0.5},
    )


def file_of(folder: Path, timestamp: str) -> Path:
    (folder / timestamp).mkdir(exist_ok=True)
    return folder / timestamp / 'gradient_shares.jsonl'


def test_a_line_says_what_was_measured(tmp_path: Path) -> None:
    append_measurement(file_of(tmp_path, '1'), measured(200))
    line = json.loads(file_of(tmp_path, '1').read_text())
    assert line == dict(
        started=0,
        iteration=200,
        max_iterations=1000,
        task_value=7.0,
        task_gradient=dict(
            backbone=2.0, heads=0.5, whole=pytest.approx(math.hypot(2, 0.5))
        ),
        pairs=dict(
            hint=dict(
                key='model.pairs.it',
                weight=0.1,
                share=0.5,
                part='backbone',
                cosine=0.5,
                value=3.0,
                verdict='fair',
                wanted=0.5,
            )
        ),
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    written = [measured(0), measured(25), measured(50)]
    for each in written:
        append_measurement(file_of(tmp_path, '1'), each)
    assert read_shares(tmp_path) == written
    assert read_shares(tmp_path / 'none') == []


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    found = measurement_of(
        shares(
            task=0.0,
            it=pair(1.0, value=math.inf),
            lost=pair(math.nan),
        ),
        started=0,
        iteration=0,
        max_iterations=10,
    )
    append_measurement(file_of(tmp_path, '1'), found)
    text = file_of(tmp_path, '1').read_text()
    assert 'NaN' not in text and 'Infinity' not in text
    (line,) = read_shares(tmp_path)
    assert line.pairs['it'].share is line.pairs['it'].value is None
    assert line.pairs['it'].wanted is None
    assert line.pairs['lost'].verdict == 'not finite'


def test_a_resumed_attempt_replaces_what_came_after_its_start(tmp_path: Path) -> None:
    for iteration in (0, 100, 200, 300):
        append_measurement(file_of(tmp_path, '1'), measured(iteration))
    for iteration in (200, 400):
        again = measured(iteration, started=150, weight=0.2)
        append_measurement(file_of(tmp_path, '2'), again)
    found = read_shares(tmp_path)
    assert [each.iteration for each in found] == [0, 100, 200, 400]
    assert [each.pairs['hint'].weight for each in found] == [0.1, 0.1, 0.2, 0.2]


def test_a_new_run_in_the_same_folder_replaces_all(tmp_path: Path) -> None:
    for timestamp in ('1', '2'):
        append_measurement(file_of(tmp_path, timestamp), measured(100))
    assert len(read_shares(tmp_path)) == 1


def test_two_attempts_of_one_second_share_a_file(tmp_path: Path) -> None:
    path = file_of(tmp_path, '1')
    for iteration in (0, 100, 100):
        append_measurement(path, measured(iteration))
    assert [each.iteration for each in read_shares(tmp_path)] == [100]


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    path = file_of(tmp_path, '1')
    append_measurement(path, measured(0))
    whole = path.read_text()
    path.write_text(whole + whole[: len(whole) // 2] + '\n[1]\n{"pairs": 3}\n{}\n')
    assert read_shares(tmp_path) == [measured(0)]
    path.write_bytes(b'\xff\xfe' + whole.encode() + b'\n' + whole.encode())
    assert read_shares(tmp_path) == [measured(0)]
