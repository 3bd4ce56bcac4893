"""The embedded benchmark data, generated on first use."""

from ..hosts import required  # noqa: F401
from .hook import PrepareDataHook
from .prepare import DATASETS, prepare

__all__ = [
    'DATASETS',
    'PrepareDataHook',
    'prepare',
]
