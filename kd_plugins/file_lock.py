"""A lock between processes, and between machines that share a folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock; the system releases it if the process dies.

    Args:
        path: of the lock's file, which is made if it is missing, and stays.
    """
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
