"""Batches as they come out of SeededViews, without a data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_plugins.datasets import SeededView

IMAGES, VIEWS = 4, 3


def view(item: int, **changes: Any) -> SeededView:
    plain = SeededView(item, IMAGES, VIEWS, 'data', 100 + item)
    return plain._replace(**changes)


def mark(samples: Sequence[Any], *items: int, **changes: Any) -> None:
    """Let samples say that they are these items."""
    for sample, item in zip(samples, items, strict=True):
        sample.set_metainfo(dict(seeded_view=view(item, **changes)))


def marked(batch: dict[str, Any], *items: int, **changes: Any) -> dict[str, Any]:
    mark(batch['data_samples'], *items, **changes)
    return batch


def exact(folder: Path, **changes: Any) -> dict[str, Any]:
    """A cache that changes no bit."""
    return dict(folder=str(folder), dtype='float32') | changes
