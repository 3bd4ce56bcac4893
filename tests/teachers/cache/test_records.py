"""Records are whole or absent, whoever writes them and whenever it dies."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch

from kd_plugins.errors import DistillationError
from kd_plugins.teachers.cache.codec import Layout
from kd_plugins.teachers.cache.records import Damaged, RecordFile

FLOATS = 5000
LAYOUT = Layout((FLOATS,), torch.float32, torch.float32)
ITEMS = 40
FORK = multiprocessing.get_context('fork')


def opened(folder: Path, items: int = ITEMS) -> RecordFile:
    return RecordFile(folder, 'features.0', LAYOUT, (64, 64), items)


def content(item: int) -> torch.Tensor:
    row = torch.full((1, FLOATS), float(item))
    return LAYOUT.encode(row)[0]


def read(file: RecordFile, item: int) -> list[float]:
    row = np.empty(LAYOUT.nbytes, np.uint8)
    file.read(item, row)
    return sorted(set(row.view(np.float32).tolist()))


def write(file: RecordFile, *items: int) -> None:
    file.write((item, 7 * item, content(item)) for item in items)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = opened(tmp_path)
    write(file, 3, 0, 39)
    for one in (file, opened(tmp_path)):
        assert np.flatnonzero(one.stored()).tolist() == [0, 3, 39]
        for item in (0, 3, 39):
            assert read(one, item) == [item]
            assert one.image_of(item) == 7 * item
        assert one.image_of(1) is None
        with pytest.raises(Damaged):
            read(one, 1)


def test_two_open_files_see_what_the_other_writes(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    write(one, 5)
    assert read(other, 5) == [5]
    write(other, 6)
    assert read(one, 6) == [6]


def test_a_file_grows_with_more_views(tmp_path: Path) -> None:
    write(opened(tmp_path), 3, 39)
    more = opened(tmp_path, 2 * ITEMS)
    write(more, 79)
    assert np.flatnonzero(more.stored()).tolist() == [3, 39, 79]
    assert np.flatnonzero(opened(tmp_path).stored()).tolist() == [3, 39]


def test_what_was_never_written_takes_no_space(tmp_path: Path) -> None:
    file = RecordFile(tmp_path, 'features.0', LAYOUT, (64, 64), 100_000)
    assert file.nbytes > 2e9
    taken = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())
    assert taken < 1e5


@pytest.mark.parametrize('where', [3 * 20032, 3 * 20032 + 19999])
def test_a_flipped_bit_is_seen(where: int, tmp_path: Path) -> None:
    file = opened(tmp_path)
    write(file, 2, 3)
    path = tmp_path / 'features.0.records'
    changed = bytearray(path.read_bytes())
    changed[where] ^= 4
    path.write_bytes(changed)
    assert read(file, 2) == [2]
    with pytest.raises(Damaged):
        read(file, 3)
    write(file, 3)
    assert read(file, 3) == [3]


def test_a_record_in_the_place_of_another_is_seen(tmp_path: Path) -> None:
    file = opened(tmp_path)
    write(file, 2, 3)
    path = tmp_path / 'features.0.index'
    changed = bytearray(path.read_bytes())
    entry = slice(4096 + 16 * 2, 4096 + 16 * 3)
    changed[4096 + 16 * 3 : 4096 + 16 * 4] = changed[entry]
    path.write_bytes(changed)
    with pytest.raises(Damaged):
        read(file, 3)


def test_a_truncated_file_lacks_records(tmp_path: Path) -> None:
    write(opened(tmp_path), 2, 39)
    os.truncate(tmp_path / 'features.0.records', 4 * 20032)
    file = opened(tmp_path)
    assert read(file, 2) == [2]
    with pytest.raises(Damaged):
        read(file, 39)


def test_records_of_another_layout_are_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    half = Layout((FLOATS,), torch.float32, torch.float16)
    with pytest.raises(
        DistillationError, match=r'float16.* Delete .*, and it is filled'
    ):
        RecordFile(tmp_path, 'features.0', half, (64, 64), ITEMS)


def fill(folder: Path, seed: int, pipe: Connection) -> None:
    """Write all records, in an order of its own, again and again."""
    file = opened(folder)
    items = list(range(ITEMS))
    rng = random.Random(seed)
    while True:
        rng.shuffle(items)
        for item in items:
            write(file, item)
            pipe.send(item)


@pytest.mark.parametrize('seed', range(3))
def test_processes_killed_while_they_write_leave_whole_records(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    fillers = []
    for number in range(2):
        here, there = FORK.Pipe()
        process = FORK.Process(target=fill, args=(tmp_path, 10 * seed + number, there))
        process.start()
        fillers.append((process, here))
    file = opened(tmp_path)
    for process, pipe in fillers:
        for _ in range(15):  # it is at work
            assert pipe.poll(60)
            pipe.recv()
        time.sleep(rng.uniform(0, 0.05))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        present = np.flatnonzero(file.stored()).tolist()
        assert len(present) >= 15
        for item in present:
            assert read(file, item) == [item]


def _write_once(folder: Path, items: range) -> None:
    file = opened(folder)
    for item in items:
        write(file, item)


def test_several_processes_fill_one_file(tmp_path: Path) -> None:
    shares = [range(0, 30), range(10, 40), range(0, 40, 2)]
    processes = [
        FORK.Process(target=_write_once, args=(tmp_path, share)) for share in shares
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    file = opened(tmp_path)
    assert file.stored().all()
    assert all(read(file, item) == [item] for item in range(ITEMS))
