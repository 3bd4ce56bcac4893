"""One sub-folder of a cache: the records of one teacher, of one set of views."""

import shutil
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor

from ...datasets.seeded_views import SeededView
from ...errors import ConfigError, DistillationError
from .codec import Layout
from .options import GIGABYTE, CacheOptions
from .records import Damaged, RecordFile, header_of

Size = tuple[int, int]


class Shelf:
    """Records by the name of the tensor, and how much was found and missed.

    Args:
        folder: of the records.
        options: of the cache.
        view: any, which says how many there are.
        teacher: name of the teacher, for messages.

    Attributes:
        input_size: height and width of the teacher's input that the records are of;
            None before there are any.
        structures: how the tensors of a computation belong together, by its key: what
            was learned when the teacher ran, for this process.
        found: items that were there when this process first stored something.
        hits: items that were read whole.
        misses: items of which the teacher computed something.
    """

    def __init__(
        self, folder: Path, options: CacheOptions, view: SeededView, teacher: str
    ) -> None:
        self.folder = folder
        self.options = options
        self.teacher = teacher
        self._images, self._views = view.images, view.views
        self.items = view.images * view.views
        self.input_size: Size | None = None
        self.structures: dict[Hashable, Any] = {}
        self.found = 0
        self.hits = 0
        self.misses = 0
        self._due = 1.0  # the first batch is compared
        self._files: dict[str, RecordFile] = {}
        self._used: dict[str, Layout] = {}
        self._damaged = 0
        self._full = False
        for path in sorted(folder.glob('*.index')):
            header = header_of(path)
            if header is not None:
                height, width = header['input_size']
                self.input_size = (height, width)
                self._open(path.stem, Layout.from_dict(header['layout']))

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the tensors that this run reads."""
        return tuple(self._used)

    def compares_next(self) -> bool:
        """Whether the next batch is to be compared with what the teacher gives."""
        share = self.options.recheck
        due, self._due = self._due >= 1, self._due % 1 + share
        return due and share > 0

    def file(self, name: str) -> RecordFile | None:
        """The records of a tensor, if there are such."""
        if name not in self._files:
            header = header_of(self.folder / f'{name}.index')
            if header is None:
                return None
            self._open(name, Layout.from_dict(header['layout']))
        return self._files[name]

    def missing(self, names: Iterable[str]) -> NDArray[np.int64]:
        """Items that lack a record of one of these tensors, in order."""
        whole = np.ones(self.items, np.bool_)
        for name in names:
            file = self.file(name)
            whole &= False if file is None else file.stored()
        return np.flatnonzero(~whole)

    def read(self, file: RecordFile, view: SeededView, row: NDArray[np.uint8]) -> bool:
        """Copy the record of an item to a row of bytes; False if it has none.

        Raises: DistillationError for a record of another image.
        """
        image = file.image_of(view.item)
        if image is None:
            return False
        try:
            file.read(view.item, row)
        except Damaged:
            self._warn_of_damage(file, view)
            return False
        if image != view.checksum:
            raise DistillationError(
                f'the image of {view.describe()} is not the one whose {file.name} was '
                'stored, though data, pipeline and seed are the same: a file has '
                'changed, or a transform draws from a generator that SeededViews does '
                f'not know. Delete {self.folder}, or take that transform out.'
            )
        return True

    def _warn_of_damage(self, file: RecordFile, view: SeededView) -> None:
        self._damaged += 1
        if self._damaged == 1:
            print_log(
                f"Cache of teacher '{self.teacher}': the record of {view.describe()} "
                f'in {self.folder / file.name}.records is damaged: its checksum is '
                'another. It is computed anew, as others will be, of which nothing '
                'more is said.',
                'current',
                level=30,
            )

    def admit(self, layouts: Mapping[str, Layout], input_size: Size) -> None:
        """Make files for the tensors that a run uses, if all records will fit.

        Args:
            layouts: of tensors, by name.
            input_size: of the teacher's input.

        Raises: ConfigError with the arithmetic, for more than is allowed or free.
        """
        if layouts.keys() <= self._used.keys():
            return
        self.input_size = input_size
        self._used |= layouts
        self._check_bound()
        for name, layout in layouts.items():
            if self.file(name) is None:
                self._open(name, layout)
        self._check_disk()
        self.found = self.items - len(self.missing(self.used))
        print_log(f"Cache of teacher '{self.teacher}': {self.describe()}.", 'current')

    def write(self, name: str, records: Iterable[tuple[SeededView, Tensor]]) -> None:
        """Store the bytes of items; once the disk is full, no more of them."""
        if self._full:
            return
        file = self._files[name]
        try:
            file.write((view.item, view.checksum, row) for view, row in records)
        except OSError as error:
            self._full = True
            print_log(
                f"Cache of teacher '{self.teacher}': {self.folder} cannot be written "
                f'({error}). Nothing more is stored; the training goes on.',
                'current',
                level=30,
            )

    def describe(self) -> str:
        """Items, bytes and what of them is there."""
        whole = self.items - len(self.missing(self.used))
        return (
            f'{self._arithmetic()} in {self.folder}; '
            f'{whole:,} of {self.items:,} items are there'
        )

    def _open(self, name: str, layout: Layout) -> None:
        assert self.input_size is not None
        self._files[name] = RecordFile(
            self.folder, name, layout, self.input_size, self.items
        )

    def _arithmetic(self) -> str:
        each = sum(layout.nbytes for layout in self._used.values())
        maps: dict[str, list[str]] = {}
        for name, layout in self._used.items():
            stem, _, number = name.rpartition('.')
            shown = maps.setdefault(stem if number.isdigit() else name, [])
            shown.append(layout.describe())
        parts = '; '.join(f'{name}: {", ".join(shown)}' for name, shown in maps.items())
        return (
            f'{self.items:,} items ({self._images:,} images x {self._views} views) x '
            f'{each:,} bytes ({parts}) = {_size(self.items * each)}'
        )

    def _check_bound(self) -> None:
        each = sum(layout.nbytes for layout in self._used.values())
        allowed = self.options.max_gigabytes * GIGABYTE
        if self.items * each > allowed:
            raise ConfigError(
                f'{self._arithmetic()}, allowed are {_size(allowed)}. '
                'Raise it, or store less: fewer views '
                "(train_dataloader.dataset.views), dtype='float16', classes=... of "
                'class maps, fewer pairs or levels.',
                key='max_gigabytes',
            )

    def _check_disk(self) -> None:
        needed = sum(
            int((~file.stored()).sum()) * file.layout.nbytes
            for file in self._files.values()
        )
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise ConfigError(
                f'{_size(needed)} are still to be written to {self.folder}, and '
                f'{_size(free)} are free there. Name a folder on a larger disk, '
                'or store less.',
                key='folder',
            )


def _size(number: float) -> str:
    """Bytes in words.

    Example:
        >>> _size(13_312), _size(2.5e10)
        ('13.3 kB', '25 GB')
    """
    for unit, each in (('GB', GIGABYTE), ('MB', 1e6)):
        if number >= each:
            return f'{number / each:.3g} {unit}'
    return f'{number / 1e3:.3g} kB'
