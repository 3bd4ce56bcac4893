"""Whether a model that teaches goes on learning, from what it and its student say."""

from kd_plugins.switches._base import Switch
from kd_plugins.switches.adaptive import (
    AdaptiveSwitch,
    adaptive_threshold,
    distances,
)

__all__ = [
    'AdaptiveSwitch',
    'Switch',
    'adaptive_threshold',
    'distances',
]
