"""Pictures of the maps that pairs compare, of predictions, and of curves."""

from ..hosts import required  # noqa: F401
from .curves import draw_curves, read_scalars
from .maps import PairMap, pair_maps
from .pages import make_pages
from .shots import Shot, take_shots

__all__ = [
    'PairMap',
    'Shot',
    'draw_curves',
    'make_pages',
    'pair_maps',
    'read_scalars',
    'take_shots',
]
