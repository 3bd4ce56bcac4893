"""The embedded benchmark data, generated on first use; and views of any data."""

from ..hosts import required  # noqa: F401
from .hook import PrepareDataHook
from .prepare import DATASETS, prepare
from .seeded_views import SeededView, SeededViews

__all__ = [
    'DATASETS',
    'PrepareDataHook',
    'SeededView',
    'SeededViews',
    'prepare',
]
