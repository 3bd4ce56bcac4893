"""Gain and cost of recipes over seeds, as tables and as a page."""

from ..hosts import required  # noqa: F401
