"""Checkpoint files that are whole or absent, and the one that a run continues from.

A file is written beside its place, forced to disk, and renamed over it: whoever looks,
and whenever the process dies, sees the old file or the new one.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import fault_of_archive

_PART = '.part'


def beside(filename: str) -> str:
    """Name under which a file is written before it is whole.

    Example:
        >>> beside('iter_500.pth')
        '.iter_500.pth.part'
    """
    return f'.{filename}{_PART}'


def student_file(path: str) -> str:
    """The student's own checkpoint beside a training checkpoint.

    Example:
        >>> student_file('work/iter_500.pth')
        'work/student_iter_500.pth'
    """
    return os.path.join(os.path.dirname(path), f'student_{os.path.basename(path)}')


def publish(part: Path, path: Path) -> None:
    """Force a written file to disk, then give it its name in one step."""
    with open(part, 'rb') as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync_folder(path.parent)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path beside, to be written within; at the end it gets its name.

    What was written is removed where that fails: a disk that is full needs the room.

    Raises: OSError that names the file.
    """
    part = path.with_name(beside(path.name))
    try:
        yield part
        publish(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            message = f"'{path}' cannot be written: {error.strerror or error}"
            raise type(error)(error.errno, message) from error
        raise


def save(content: dict[str, Any], path: Path) -> None:
    """``torch.save``, whole or not at all."""
    # Into an open file: of a path, torch does not say why it cannot be written.
    with written(path) as part, open(part, 'wb') as file:
        torch.save(content, file)


def remove_parts(folder: Path) -> None:
    """Remove what processes that died while saving left behind."""
    for part in folder.glob(f'.*{_PART}'):
        part.unlink()


def _sync_folder(folder: Path) -> None:
    # The rename itself is only safe from a power cut once the folder is on disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_whole(path: Path) -> bool:
    """Whether a checkpoint was written to its end: every part has its checksum."""
    try:
        return not fault_of_archive(path)
    except OSError:
        return False


def newest_checkpoint(folder: Path, template: str) -> Path | None:
    """The training checkpoint to continue from.

    Args:
        folder: where checkpoints are saved.
        template: their names, with one ``{}`` for the step; ``best_*`` and
            ``student_*`` do not match it.

    Returns: the newest whole one by time of writing (``last_checkpoint`` may lag behind
        or be missing, and a higher step may belong to an earlier run), or None.
    """
    checkpoints = sorted(_training_checkpoints(folder, template), reverse=True)
    return next((path for _, _, path in checkpoints if is_whole(path)), None)


def training_checkpoints(folder: Path, template: str) -> list[Path]:
    """All training checkpoints in a folder, in order of their steps.

    Arguments: as of :func:`newest_checkpoint`.
    """
    found = _training_checkpoints(folder, template)
    return [path for _, _, path in sorted(found, key=lambda each: each[1])]


def _training_checkpoints(
    folder: Path, template: str
) -> Iterator[tuple[int, int, Path]]:
    start, _, end = template.partition('{}')
    pattern = re.compile(rf'{re.escape(start)}(\d+){re.escape(end)}')
    for path in folder.iterdir() if folder.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match:
            yield path.stat().st_mtime_ns, int(match[1]), path
