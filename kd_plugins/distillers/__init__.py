"""The model wrapper, and how it is optimised and distributed."""

from .distiller import Distiller

__all__ = ['Distiller']
