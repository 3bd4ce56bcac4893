"""Built once, whole or not at all, and never over somebody's own files."""

import json
import multiprocessing
import os
import signal
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from kd_plugins.datasets import cache
from kd_plugins.errors import ConfigError

# Forked: a fresh interpreter takes seconds to import torch. Newer Pythons warn of it.
pytestmark = pytest.mark.filterwarnings('ignore:.*multi-threaded.*:DeprecationWarning')
processes = multiprocessing.get_context('fork')


def build(folder: Path) -> None:
    (folder / 'sub').mkdir()
    (folder / 'sub' / 'data.txt').write_text('whole')


def never(folder: Path) -> None:
    raise AssertionError('built again')


def test_builds_what_is_missing_and_nothing_twice(tmp_path):
    root = tmp_path / 'deep' / 'data'
    assert cache.ensure(root, 'one', build) == root
    assert (root / 'sub' / 'data.txt').read_text() == 'whole'
    assert cache.ensure(root, 'one', never) == root


def test_another_version_is_built_anew(tmp_path):
    root = cache.ensure(tmp_path / 'data', 'one', build)
    (root / 'left.txt').write_text('from before')
    cache.ensure(root, 'two', build)
    assert json.loads((root / 'manifest.json').read_text())['version'] == 'two'
    assert not (root / 'left.txt').exists()


@pytest.mark.parametrize('damage', ['change', 'remove', 'add', 'rename'])
def test_a_damaged_file_is_noticed(tmp_path, damage):
    root = cache.ensure(tmp_path / 'data', 'one', build)
    data = root / 'sub' / 'data.txt'
    if damage == 'change':
        data.write_text('other')
    elif damage == 'remove':
        data.unlink()
    elif damage == 'add':
        (root / 'more.txt').write_text('more')
    else:
        data.rename(root / 'sub' / 'date.txt')
    cache.ensure(root, 'one', build)
    assert [path.name for path in root.rglob('*.txt')] == ['data.txt']
    assert data.read_text() == 'whole'


@pytest.mark.parametrize('manifest', [None, 'no json', '[]', '{"version": "1.0"}'])
def test_somebodys_own_files_are_left_alone(tmp_path, manifest):
    root = tmp_path / 'precious'
    root.mkdir()
    (root / 'thesis.txt').write_text('years of work')
    if manifest is not None:
        (root / 'manifest.json').write_text(manifest)
    with pytest.raises(ConfigError, match=r"root: '.*precious' holds files that were"):
        cache.ensure(root, 'one', build)
    assert (root / 'thesis.txt').read_text() == 'years of work'


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / 'data').mkdir()
    cache.ensure(tmp_path / 'data', 'one', build)
    assert (tmp_path / 'data' / 'sub' / 'data.txt').exists()


def test_a_failing_build_leaves_nothing(tmp_path):
    def fail(folder: Path) -> None:
        build(folder)
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        cache.ensure(tmp_path / 'data', 'one', fail)
    assert not (tmp_path / 'data').exists()
    cache.ensure(tmp_path / 'data', 'one', build)


def test_what_another_process_built_meanwhile_is_taken(tmp_path, monkeypatch):
    @contextmanager
    def wait(path: Path):
        with monkeypatch.context() as other:
            other.setattr(cache, 'FileLock', lambda path: nullcontext())
            cache.ensure(tmp_path / 'data', 'one', build)
        yield

    monkeypatch.setattr(cache, 'FileLock', wait)
    root = cache.ensure(tmp_path / 'data', 'one', never)
    assert (root / 'sub' / 'data.txt').read_text() == 'whole'


def test_of_four_processes_one_builds(tmp_path):
    start = processes.Barrier(4)

    def slowly(folder: Path) -> None:
        (tmp_path / f'builder {os.getpid()}').touch()
        time.sleep(0.3)
        build(folder)

    def work() -> None:
        start.wait()
        root = cache.ensure(tmp_path / 'data', 'one', slowly)
        assert (root / 'sub' / 'data.txt').read_text() == 'whole'

    workers = [processes.Process(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(list(tmp_path.glob('builder *'))) == 1


def test_killed_while_building_leaves_nothing_half_made(tmp_path):
    half_way = processes.Event()

    def hang(folder: Path) -> None:
        (folder / 'half.txt').write_text('half')
        half_way.set()
        time.sleep(60)

    builder = processes.Process(
        target=cache.ensure, args=(tmp_path / 'data', 'one', hang)
    )
    builder.start()
    assert half_way.wait(30)
    os.kill(builder.pid, signal.SIGKILL)
    builder.join(30)
    assert builder.exitcode == -signal.SIGKILL
    assert not (tmp_path / 'data').exists()
    root = cache.ensure(tmp_path / 'data', 'one', build)  # the lock died with it
    assert not (root / 'half.txt').exists()
    assert not (tmp_path / '.data.partial').exists()


def test_sizes_are_part_of_the_version():
    usual = {'train': 10, 'val': 5}
    assert cache.version_of('data 1', usual, usual) == 'data 1'
    assert cache.version_of('data 1', {'train': 9, 'val': 5}, usual) != 'data 1'


def test_a_size_below_one_is_refused():
    with pytest.raises(ConfigError, match="data 1: 'val' must be >= 1 images, got 0"):
        cache.version_of('data 1', {'train': 1, 'val': 0}, {})
