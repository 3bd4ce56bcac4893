"""Pruning: whole channels, or single weights, by several criteria."""

from ...hosts import required  # noqa: F401
from ...registry import MODELS
from .manifest import NAME, channels_of, config_text, narrowed_model, whole_model
from .narrowed import narrowed
from .planner import plan_student
from .structured import Budget, Pruned, prune_channels

MODELS.register_module(name=NAME, module=narrowed)

__all__ = [
    'Budget',
    'Pruned',
    'channels_of',
    'config_text',
    'narrowed',
    'narrowed_model',
    'plan_student',
    'prune_channels',
    'whole_model',
]
