"""The distiller: a student of the host's, its teachers, its pairs, and one step."""

from ..hosts import required  # noqa: F401
from .distiller import Distiller
from .mutual import MutualDistiller

__all__ = ['Distiller', 'MutualDistiller']
