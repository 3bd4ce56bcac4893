"""The records of one batch: read where they are, computed and kept where not."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ...datasets.seeded_views import SeededView
from ...errors import DistillationError
from .codec import Layout
from .options import DTYPES
from .shelf import Shelf

Kind = Literal['feature', 'classes', 'whole']
# Of the largest value. Other kernels, for other numbers of images, give other last
# bits, most in bfloat16; another image gives another map.
TOLERANCE = 0.05


class CachedBatch:
    """What a cache holds of a batch's items.

    What a step is given of a tensor is always what its record says, whether it was read
    or just computed: so a step is the same before and after the cache is filled.

    Args:
        shelf: of the records.
        views: of the items, one for each image.
        input_size: height and width of the teacher's input.
        device: of the tensors.
    """

    def __init__(
        self,
        shelf: Shelf,
        views: Sequence[SeededView],
        input_size: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._shelf = shelf
        self._views = views
        self._input_size = input_size
        self._device = device
        self._compares = shelf.compares_next()
        self._asked: dict[str, Layout] = {}
        self._computed: dict[str, dict[int, Tensor]] = {}

    @property
    def structures(self) -> dict[Hashable, Any]:
        """How tensors belong together, by the key of their computation."""
        return self._shelf.structures

    @property
    def names(self) -> tuple[str, ...]:
        """Tensors that were asked for, in order."""
        return tuple(self._asked)

    def tensor(self, name: str, kind: Kind, compute: Callable[[], Tensor]) -> Tensor:
        """A tensor of the batch (N, ...).

        Args:
            name: of the tensor, the same in every step.
            kind: 'feature', 'classes' for logits of pixels, or 'whole' for what is
                stored as it is.
            compute: lets the teacher give it; called if an item lacks it, or the batch
                is compared.

        Raises: DistillationError for a record that is not what the teacher gives.
        """
        file = self._shelf.file(name)
        if file is None:
            rows = self._checked(name, compute())
            layout = self._layout(rows, kind)
            content, present = self._empty(layout), [False] * len(self._views)
        else:
            layout = file.layout
            content = self._empty(layout)
            array = content.numpy()
            present = [
                self._shelf.read(file, view, array[row])
                for row, view in enumerate(self._views)
            ]
            if all(present) and not self._compares:
                self._asked[name] = layout
                return layout.decode(self._moved(content))
            rows = self._checked(name, compute())
            if self._layout(rows, kind) != layout:
                raise DistillationError(
                    f'the records of {name} in {self._shelf.folder} are '
                    f'{layout.describe()}, the teacher gives '
                    f'{self._layout(rows, kind).describe()}. Delete that folder.'
                )
        self._asked[name] = layout
        encoded = layout.encode(rows)
        for row, view in enumerate(self._views):
            if present[row]:
                self._compare(name, layout, view, content[row], encoded[row])
                continue
            content[row] = encoded[row]
            self._computed.setdefault(name, {})[row] = encoded[row]
        return layout.decode(self._moved(content))

    def commit(self) -> None:
        """Store what was computed.

        Raises: ConfigError if the records of all items would not fit.
        """
        missed = {row for rows in self._computed.values() for row in rows}
        if self._asked:
            self._shelf.misses += len(missed)
            self._shelf.hits += len(self._views) - len(missed)
        self._shelf.admit(self._asked, self._input_size)
        for name, rows in self._computed.items():
            self._shelf.write(
                name, [(self._views[row], content) for row, content in rows.items()]
            )

    def _checked(self, name: str, rows: Tensor) -> Tensor:
        if rows.dtype.is_floating_point and not bool(rows.isfinite().all()):
            raise DistillationError(
                f'{name} of the teacher holds NaN or infinity: it is not stored. Check '
                "the teacher's checkpoint (model.teacher.checkpoint) and, with --amp, "
                'its range.'
            )
        if len(rows) != len(self._views):
            raise DistillationError(
                f'{name} of the teacher has {len(rows)} rows for {len(self._views)} '
                "images, and a cache stores one for each. Remove the teacher's cache."
            )
        return rows

    def _layout(self, rows: Tensor, kind: Kind) -> Layout:
        shape, dtype = tuple(rows.shape[1:]), rows.dtype
        options = self._shelf.options
        if kind == 'classes' and options.classes is not None and len(shape) == 3:
            kept = min(options.classes, shape[0])
            return Layout(shape, dtype, torch.float16, kept)
        small = not dtype.is_floating_point or dtype.itemsize <= 2
        stored = dtype if small or kind != 'feature' else DTYPES[options.dtype]
        return Layout(shape, dtype, stored)

    def _empty(self, layout: Layout) -> Tensor:
        return torch.empty(
            len(self._views),
            layout.nbytes,
            dtype=torch.uint8,
            pin_memory=self._device.type == 'cuda',
        )

    def _moved(self, content: Tensor) -> Tensor:
        return content.to(self._device, non_blocking=True)

    def _compare(
        self, name: str, layout: Layout, view: SeededView, stored: Tensor, now: Tensor
    ) -> None:
        both = layout.decode(torch.stack([stored, now]))
        difference = layout.difference(*both)
        if difference > TOLERANCE:
            raise DistillationError(
                f"{name} of {view.describe()} differs from what the teacher's cache "
                f'holds of it by {difference:.3g} of its largest value, allowed is '
                f'{TOLERANCE:g}. Something has changed that the manifest does not know '
                f'of. Delete {self._shelf.folder}, and it is filled anew.'
            )
