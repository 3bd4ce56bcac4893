"""Smaller students: fewer channels, fewer weights, fewer bits."""

from ..hosts import required  # noqa: F401
