"""Records of fixed size in a memory-mapped file, each whole or absent.

A tensor has two files: ``<name>.records`` holds the bytes of all items, one after the
other, and ``<name>.index`` a header that says what they are, and an entry for each
item. An entry is written when the bytes of its record are on the disk, and holds their
checksum: whoever looks, and whenever a process dies, sees a whole record or none. Both
files are sparse: what was never written takes no space.
"""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DistillationError
from .codec import Layout

_HEADER = 4096  # bytes
_ENTRY = struct.Struct('<4I')  # mark, checksum of the record, of the image, item
_MARK = 0x5EEDC0DE
_ALIGNED = 64  # records begin at multiples of this
_LOCK = '.lock'


class Damaged(Exception):
    """A record whose checksum is not that of its bytes."""


class RecordFile:
    """The records of one tensor of a teacher, an item each.

    Args:
        folder: of the files.
        name: of the tensor; also that of its files.
        layout: of its records.
        input_size: height and width of the teacher's input that they are of.
        items: how many records there may be; a file of fewer grows.

    Raises: DistillationError if the files hold records of another layout.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        layout: Layout,
        input_size: tuple[int, int],
        items: int,
    ) -> None:
        self.name = name
        self.layout = layout
        self.input_size = input_size
        self.items = items
        self._stride = -(-layout.nbytes // _ALIGNED) * _ALIGNED
        self._create(folder)
        self._content, self._content_map = _opened(
            folder / f'{name}.records', items * self._stride
        )
        self._index, self._index_map = _opened(
            folder / f'{name}.index', _HEADER + items * _ENTRY.size
        )

    @property
    def nbytes(self) -> int:
        """Of all records, once they are there."""
        return self.items * (self._stride + _ENTRY.size)

    def _create(self, folder: Path) -> None:
        content = {
            'layout': self.layout.as_dict(),
            'input_size': list(self.input_size),
        }
        path = folder / f'{self.name}.index'
        with FileLock(folder / _LOCK):
            if not path.exists():
                part = folder / f'.{self.name}.part'
                part.write_bytes(json.dumps(content).encode().ljust(_HEADER))
                os.replace(part, path)
        found = header_of(path)
        if found != content:
            raise DistillationError(
                f'{path} holds records of {found}, expected {content}. Delete '
                f'{folder}, and it is filled anew.'
            )

    def stored(self) -> NDArray[np.bool_]:
        """Which items have an entry, (items,)."""
        entries = np.frombuffer(
            self._index_map, '<u4', self.items * 4, offset=_HEADER
        ).reshape(-1, 4)
        present: NDArray[np.bool_] = entries[:, 0] == _MARK
        return present

    def image_of(self, item: int) -> int | None:
        """Checksum of the image that an item's record is of; None without record."""
        entry = self._entry(item)
        return None if entry is None else entry[2]

    def read(self, item: int, row: NDArray[np.uint8]) -> None:
        """Copy the bytes of an item's record to a row of ``layout.nbytes``.

        Raises: Damaged if they are not those that were written.
        """
        entry = self._entry(item)
        start = item * self._stride
        row[:] = np.frombuffer(
            self._content_map, np.uint8, self.layout.nbytes, offset=start
        )
        if entry is None or entry[1:] != (_checksum(row), entry[2], item):
            raise Damaged(self.name)

    def write(self, records: Iterable[tuple[int, int, Tensor]]) -> None:
        """Store records: their bytes reach the disk before their entries are written.

        Args:
            records: item, checksum of its image, and bytes (nbytes,).

        Raises: OSError where the disk is full.
        """
        entries = []
        for item, image, content in records:
            written = content.numpy()
            _write(self._content, written, item * self._stride)
            entries.append((item, _ENTRY.pack(_MARK, _checksum(written), image, item)))
        os.fdatasync(self._content)
        for item, entry in entries:
            _write(self._index, entry, _HEADER + item * _ENTRY.size)

    def _entry(self, item: int) -> Sequence[int] | None:
        entry = _ENTRY.unpack_from(self._index_map, _HEADER + item * _ENTRY.size)
        return entry if entry[0] == _MARK else None

    def __del__(self) -> None:
        for descriptor in ('_content', '_index'):
            if descriptor in self.__dict__:
                os.close(self.__dict__[descriptor])


def header_of(path: Path) -> dict[str, Any] | None:
    """What the records of an index file are; None for no such file."""
    try:
        with open(path, 'rb') as file:
            content: dict[str, Any] = json.loads(file.read(_HEADER))
    except (OSError, ValueError):
        return None
    return content


def _opened(path: Path, size: int) -> tuple[int, mmap.mmap]:
    """A file, at least so large, to write to, and mapped, to be read."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with FileLock(path.parent / _LOCK):
        if os.fstat(descriptor).st_size < size:  # it never shrinks
            os.ftruncate(descriptor, size)
    return descriptor, mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)


def _write(descriptor: int, content: Any, offset: int) -> None:
    # Not through the map: on a full disk that would end the process.
    view = memoryview(content).cast('B')
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _checksum(content: NDArray[np.uint8]) -> int:
    return zlib.crc32(content.data)
