import os
from pathlib import Path

import pytest
import torch

from kd_plugins.engine.files import is_whole, newest_checkpoint, save


def write(folder: Path, name: str, age: int) -> Path:
    path = folder / name
    save({'state_dict': {'weight': torch.zeros(100)}}, path)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_takes_the_newest_whole_file(tmp_path: Path) -> None:
    write(tmp_path, 'iter_200.pth', age=3)
    expected = write(tmp_path, 'iter_400.pth', age=2)
    truncated = write(tmp_path, 'iter_600.pth', age=1)
    truncated.write_bytes(truncated.read_bytes()[:-100])
    write(tmp_path, 'best_mAP_iter_600.pth', age=0)
    write(tmp_path, 'student_iter_600.pth', age=0)
    write(tmp_path, '.iter_800.pth.part', age=0)
    assert newest_checkpoint(tmp_path, 'iter_{}.pth') == expected


def test_a_higher_step_of_an_earlier_run_is_not_the_newest(tmp_path: Path) -> None:
    write(tmp_path, 'epoch_12.pth', age=9)
    expected = write(tmp_path, 'epoch_3.pth', age=1)
    assert newest_checkpoint(tmp_path, 'epoch_{}.pth') == expected


def test_of_two_as_new_the_later_step(tmp_path: Path) -> None:
    expected = write(tmp_path, 'iter_1000.pth', age=1)
    write(tmp_path, 'iter_900.pth', age=1)
    assert newest_checkpoint(tmp_path, 'iter_{}.pth') == expected


def test_none_without_checkpoints(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, 'iter_{}.pth') is None
    assert newest_checkpoint(tmp_path / 'missing', 'iter_{}.pth') is None


@pytest.mark.parametrize('kept', [0, 1, 200, -1])
def test_a_truncated_file_is_not_whole(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path, 'iter_2.pth', age=0)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert not is_whole(path)


def test_a_damaged_file_is_not_whole(tmp_path: Path) -> None:
    path = write(tmp_path, 'iter_2.pth', age=0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not is_whole(path)


def test_another_archive_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / 'iter_2.pth'
    path.write_bytes(b'PK\x05\x06' + bytes(18))  # an empty archive
    assert not is_whole(path)
