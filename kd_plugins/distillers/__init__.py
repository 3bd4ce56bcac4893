"""The distiller: a student of the host's, its teachers, its pairs, and one step."""

from ..hosts import required  # noqa: F401
from .distiller import Distiller

__all__ = ['Distiller']
