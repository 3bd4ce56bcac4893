"""The embedded benchmark data, generated on first use."""

from .hook import PrepareDataHook
from .prepare import DATASETS, prepare

__all__ = [
    'DATASETS',
    'PrepareDataHook',
    'prepare',
]
