"""Fidelity of a student to its teacher, calibration, and gradients of the pairs."""

from ..hosts import required  # noqa: F401
