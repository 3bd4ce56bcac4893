"""tools/distill.py as a user calls it, on tiny detectors with data from memory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.runner import Runner

from kd_plugins.apis.distill import Distillation, distill
from kd_plugins.apis.train import prepare_config, train
from kd_plugins.checkpoints import read_checkpoint
from kd_plugins.config_files import read_config
from tests.apis.distill_files import options, write_student, write_teacher
from tests.distillers.runs import assert_same_weights
from tests.engine.hooks.toy import names, unformatted

tool = import_module('tools.distill')
ROOT = Path(__file__).parents[2]
SOURCES = ('student.py', 'teacher.py', 'teacher.pth')
WRITTEN = Path('work_dirs/student_from_teacher/student_from_teacher.py')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the user stands, with a student, a teacher and its checkpoint."""
    monkeypatch.chdir(tmp_path)
    write_student(tmp_path)
    write_teacher(tmp_path)
    with mock.patch.object(Runner, '_log_env'), unformatted():
        yield tmp_path


def call(*arguments: str, **others: Any) -> str:
    """The command line with names of this run's own; what was logged."""
    listed = [f'{key}={value}' for key, value in options(**others).items()]
    tool.main([*SOURCES, *arguments, '--cfg-options', 'log_level=INFO', *listed])
    logs = sorted(Path().rglob('*.log'), key=lambda path: path.stat().st_mtime_ns)
    return logs[-1].read_text()


@pytest.mark.slow
def test_from_the_command_to_the_students_checkpoint(folder: Path) -> None:
    log = call()
    work_dir = folder / WRITTEN.parent
    assert names(work_dir) == {'iter_4.pth', 'student_iter_4.pth'}
    parts = (
        'Distillation:',
        'Price (medians of 5 steps in turn, on batches of 2;',
        '  4 iterations: ',
        'the teacher: 0.',
        '(train)',
        'Student and teacher on the validation data:',
        'What the distillation came to:\n',
        f'  checkpoint  {WRITTEN.parent / "student_iter_4.pth"}\n',
        f'The config of this run is {WRITTEN}.',
    )
    places = [log.find(part) for part in parts]
    assert places == sorted(places) and places[0] >= 0


@pytest.mark.slow
def test_the_written_config_trains_the_same_student_by_train(folder: Path) -> None:
    call()
    first = read_checkpoint(WRITTEN.parent / 'iter_4.pth')['state_dict']
    text = WRITTEN.read_text()
    cfg = prepare_config(WRITTEN, options=options(), work_dir='again')
    train(cfg)
    assert_same_weights(read_checkpoint('again/iter_4.pth')['state_dict'], first)
    assert WRITTEN.read_text() == text


def test_the_config_in_its_own_work_dir_is_not_written_over(folder: Path) -> None:
    call('--dry-run')
    assert len(WRITTEN.read_text().splitlines()) < 25
    whole = WRITTEN.with_name(f'whole_{WRITTEN.name}')
    assert whole.is_file()


@pytest.mark.slow
def test_a_dry_run_trains_nothing_and_the_run_follows_in_the_same_folder(
    folder: Path,
) -> None:
    log = call('--dry-run')
    assert 'Price (medians' in log
    assert '(train)' not in log
    assert 'Student and teacher' not in log
    assert 'came to' not in log
    assert names(WRITTEN.parent) == set()
    call('--no-teacher-score', **{'train_cfg.max_iters': 2})
    assert read_config(WRITTEN).train_cfg.max_iters == 2


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(folder: Path) -> None:
    saved = {'default_hooks.checkpoint.interval': 2}
    call('--work-dir', 'whole', '--no-teacher-score', **saved)
    call('--work-dir', 'cut', '--no-teacher-score', **saved)
    for name in ('iter_4.pth', 'student_iter_4.pth'):
        (folder / 'cut' / name).unlink()
    log = call('--work-dir', 'cut', '--resume', '--no-teacher-score', **saved)
    assert '  2 iterations: ' in log
    states = [
        read_checkpoint(f'{name}/iter_4.pth')['state_dict'] for name in ('whole', 'cut')
    ]
    assert_same_weights(*states)


def distilled(**changes: Any) -> Distillation:
    return distill(*SOURCES, options=options(**changes))


def test_a_notebook_gets_the_price_and_the_scores(folder: Path) -> None:
    done = distilled()
    assert done.config == WRITTEN
    assert done.price is not None and done.price.iterations == 4
    assert {'images', 'teacher/images', 'fidelity/cka_features'} <= done.metrics.keys()
    assert done.verdict is not None
    assert set(done.verdict.pairs) == {'features', 'logits'}


def test_without_validation_they_are_not_compared(folder: Path) -> None:
    write_student(
        folder, val_dataloader=None, val_cfg=None, val_evaluator=None, log_level='INFO'
    )
    done = distilled()
    assert done.metrics == {}
    (log,) = folder.rglob('*.log')
    assert 'not compared: the config has no validation' in log.read_text()


def test_a_teacher_of_other_names_is_not_scored(folder: Path) -> None:
    content = torch.load('teacher.pth')
    content['meta'] = {'dataset_meta': {'classes': ('x', 'y', 'z')}}
    torch.save(content, 'teacher.pth')
    done = distilled(
        **{
            'log_level': 'INFO',
            'model.pairs': dict(
                _delete_=True,
                hint=dict(layer='neck', loss=dict(type='HintLoss')),
            ),
        }
    )
    assert done.metrics == {}
    (log,) = folder.rglob('*.log')
    assert 'They cannot be compared: model.teacher.checkpoint' in log.read_text()


@pytest.mark.slow
@pytest.mark.host
@pytest.mark.usefixtures('warm_processes')
def test_the_hosts_own_tool_trains_the_written_config(folder: Path) -> None:
    call('--dry-run')
    host = import_module('mmdet').__path__[0]
    code = (
        'import runpy, tests.distillers.runs; '
        f'runpy.run_path({host + "/.mim/tools/train.py"!r}, run_name="__main__")'
    )
    command = [sys.executable, '-c', code, str(WRITTEN), '--work-dir', 'theirs']
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert names(folder / 'theirs') == {'iter_4.pth', 'student_iter_4.pth'}
