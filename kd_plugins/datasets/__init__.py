"""The embedded benchmark data, generated on first use; and views of any data."""

from ..hosts import required  # noqa: F401
from .hook import PrepareDataHook
from .noise import GaussianNoise
from .paired_inputs import PackPairedInputs
from .prepare import DATASETS, prepare
from .pseudo_labels import PackPseudoLabels
from .seeded_views import SeededView, SeededViews

__all__ = [
    'DATASETS',
    'GaussianNoise',
    'PackPairedInputs',
    'PackPseudoLabels',
    'PrepareDataHook',
    'SeededView',
    'SeededViews',
    'prepare',
]
