"""Students made smaller still: fewer bits, fewer channels."""

from ..hosts import required  # noqa: F401
from . import quantization

__all__ = ['quantization']
