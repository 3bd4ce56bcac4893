"""Pictures of the maps that pairs compare, and of predictions."""

from ..hosts import required  # noqa: F401
from .maps import PairMap, pair_maps
from .pages import make_pages
from .shots import Shot, take_shots

__all__ = [
    'PairMap',
    'Shot',
    'make_pages',
    'pair_maps',
    'take_shots',
]
