"""One check of a GPU, in sections of bounded time: tests, precision, cost, a run."""

from .check import check_device
from .sections import SECTIONS, Settings, run_section

__all__ = ['SECTIONS', 'Settings', 'check_device', 'run_section']
