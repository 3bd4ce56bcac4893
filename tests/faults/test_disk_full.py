"""A disk that is full while a file is written: the file before it stays, and is named.

Three ways to have one: a file system of a megabyte where that may be mounted, a limit
on the size of files, and the device that is always full.
"""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from kd_plugins.engine.files import save
from tests.engine.hooks.toy import build, names, same_state, toy_config, train

pytestmark = [
    pytest.mark.host,
    # Of torch 2.4, on any file that is not only weights.
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
NAMED = 'ends with a message that names the file; resumed, the same bit for bit'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip('needs the command mount')
    if done.returncode:
        pytest.skip(f'may mount nothing: {done.stderr.decode()}')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True)


class LaterHook(Hook):
    """Calls a function before the seventh iteration, after which a file is saved."""

    priority = 'VERY_HIGH'

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        if runner.iter == 6:
            self.function()


def fails_later(work_dir: Path, spoil: Callable[[], Any], **changes: Any) -> str:
    """The message with which a run ends after a later change of its surroundings."""
    runner = build(toy_config(work_dir, **changes))
    runner.register_hook(LaterHook(spoil))
    with pytest.raises(OSError, match=r"iter_8\.pth' cannot be written: ") as caught:
        runner.train()
    return str(caught.value)


def limit_files(size: int) -> None:
    """Of this process, in bytes; -1 for any."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def fill(folder: Path) -> None:
    """Leave a page of a file system free."""
    status = os.statvfs(folder)
    size = (status.f_bavail - 1) * status.f_frsize
    (folder / 'filler').write_bytes(bytes(size))


def test_a_disk_that_is_full_at_a_later_checkpoint(
    tmp_path: Path, small_disk: Path, fault: Callable[..., None]
) -> None:
    whole = train(tmp_path / 'whole').model.state_dict()
    # Logs lie elsewhere: what becomes of them is the host's concern.
    hooks = {'checkpoint': {'out_dir': str(small_disk)}}
    run, folder = tmp_path / 'run', small_disk / 'run'
    message = fails_later(run, lambda: fill(small_disk), default_hooks=hooks)
    assert 'No space left on device' in message
    assert names(folder) >= {'iter_4.pth', 'iter_6.pth', 'student_iter_6.pth'}
    assert not list(folder.glob('.*'))  # nothing half written takes the room
    (small_disk / 'filler').unlink()
    end = train(run, default_hooks=hooks, resume=True)
    assert same_state(end.model.state_dict(), whole)
    fault('a full file system while a checkpoint is saved', NAMED)


def test_a_file_that_may_not_become_so_large(
    tmp_path: Path, fault: Callable[..., None]
) -> None:
    whole = train(tmp_path / 'whole').model.state_dict()
    size = (tmp_path / 'whole' / 'iter_10.pth').stat().st_size
    run = tmp_path / 'run'
    try:
        message = fails_later(run, lambda: limit_files(size // 2))
    finally:
        limit_files(-1)
    assert 'File too large' in message
    assert names(run) >= {'iter_4.pth', 'iter_6.pth', 'student_iter_6.pth'}
    assert not list(run.glob('.*'))
    end = train(run, resume=True)
    assert same_state(end.model.state_dict(), whole)
    fault('a limit on the size of files while a checkpoint is saved', NAMED)


def test_room_for_the_training_s_file_and_not_for_the_student_s(
    tmp_path: Path, fault: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / 'run'
    whole = train(tmp_path / 'whole').model.state_dict()
    full = tmp_path / 'run' / '.student_iter_6.pth.part'
    runner = build(toy_config(run, log_level='INFO'))
    publish = runner.save_checkpoint

    def plant(out_dir: str, filename: str, *args: Any, **options: Any) -> None:
        if filename == 'iter_6.pth':
            full.symlink_to('/dev/full')
        publish(out_dir, filename, *args, **options)

    monkeypatch.setattr(runner, 'save_checkpoint', plant)
    runner.train()
    log = next(run.rglob('*.log')).read_text()
    assert "student's own checkpoint beside" in log
    assert "student_iter_6.pth' cannot be written: No space left" in log
    assert not full.is_symlink()
    assert same_state(runner.model.state_dict(), whole)
    assert 'student_iter_8.pth' in names(run)
    fault("a full disk for the student's file alone", 'a warning, the training goes on')


@pytest.mark.parametrize('existing', [False, True])
def test_a_full_device_leaves_the_file_that_was_there(
    tmp_path: Path, existing: bool, fault: Callable[..., None]
) -> None:
    path = tmp_path / 'student.pth'
    if existing:
        save({'a': torch.zeros(3)}, path)
    content = path.read_bytes() if existing else None
    (tmp_path / '.student.pth.part').symlink_to('/dev/full')
    with pytest.raises(
        OSError, match=r"student\.pth' cannot be written: No space left"
    ):
        save({'a': torch.ones(100_000)}, path)
    assert (path.read_bytes() if path.exists() else None) == content
    assert os.listdir(tmp_path) == ['student.pth'] * existing
    fault('a full device while a file is written', 'named; the older file stays')
