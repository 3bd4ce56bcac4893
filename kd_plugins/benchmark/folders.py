"""The folder of a run: one process at a time, without files of earlier runs."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor
from mmengine.logging import print_log

from ..errors import DistillationError

STARTED = 'started.json'
_TAIL = 15  # lines of output in the message of a failed run


def clear(folder: Path) -> None:
    """Remove the files of an earlier run from its folder, except the lock."""
    for path in _entries(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _entries(folder: Path) -> Iterable[Path]:
    entries = [path for path in folder.iterdir() if path.name != '.lock']
    if entries and not any(path.name == STARTED for path in entries):
        raise DistillationError(
            f"'{folder}' holds files that no benchmark wrote. Choose another "
            '--work-dir.'
        )
    # The file that marks the folder goes last: it remains after a kill in between.
    return sorted(entries, key=lambda path: path.name == STARTED)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Wait for a lock file, and hold it; yields its descriptor, for child processes."""
    with open(path, 'a') as file:
        if not lock_descriptor(file.fileno(), blocking=False):
            print_log(
                f'{path.parent} is being written by a process that goes on; waiting.',
                'current',
            )
            lock_descriptor(file.fileno())
        yield file.fileno()  # closed, not unlocked: a child that goes on holds it


def tail(path: Path) -> str:
    """The last lines of a file."""
    return '\n'.join(path.read_text(errors='replace').splitlines()[-_TAIL:])
