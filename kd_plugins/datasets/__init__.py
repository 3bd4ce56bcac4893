"""The embedded benchmark data, generated on first use; and views of any data."""

from ..hosts import required  # noqa: F401
from .hook import PrepareDataHook
from .noise import GaussianNoise
from .paired_inputs import PackPairedInputs
from .prepare import DATASETS, prepare
from .seeded_views import SeededView, SeededViews

__all__ = [
    'DATASETS',
    'GaussianNoise',
    'PackPairedInputs',
    'PrepareDataHook',
    'SeededView',
    'SeededViews',
    'prepare',
]
