"""Host hooks: checkpoints, random state, the clock of weight schedules, the plan."""

from .checkpoint import AtomicCheckpointHook
from .classes import ClassNamesHook
from .clock import ClockHook
from .plan import PlanHook
from .random_state import RandomStateHook

__all__ = [
    'AtomicCheckpointHook',
    'ClassNamesHook',
    'ClockHook',
    'PlanHook',
    'RandomStateHook',
]
