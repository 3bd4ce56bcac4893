"""Gradients of each pair at the student, compared with the task's gradient."""

from .alarms import PairAlarms
from .balance import balance_weights
from .gradients import gradient_shares
from .measurements import (
    PairShare,
    ShareMeasurement,
    append_measurement,
    measurement_of,
    read_shares,
)
from .shares import GradientShares, PairGradient, median_shares
from .verdict import PairVerdict, RunVerdict, run_verdict

__all__ = [
    'GradientShares',
    'PairAlarms',
    'PairGradient',
    'PairShare',
    'PairVerdict',
    'RunVerdict',
    'ShareMeasurement',
    'append_measurement',
    'balance_weights',
    'gradient_shares',
    'measurement_of',
    'median_shares',
    'read_shares',
    'run_verdict',
]
