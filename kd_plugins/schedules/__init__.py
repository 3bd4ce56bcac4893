"""Loss weights over time, in iterations or epochs, the same after resume."""

from kd_plugins.schedules._base import Clock, Schedule
from kd_plugins.schedules.build import build_schedule
from kd_plugins.schedules.gradient_share import GradientShare
from kd_plugins.schedules.ramps import CosineRamp, LinearRamp
from kd_plugins.schedules.step import StepSchedule

__all__ = [
    'Clock',
    'CosineRamp',
    'GradientShare',
    'LinearRamp',
    'Schedule',
    'StepSchedule',
    'build_schedule',
]
