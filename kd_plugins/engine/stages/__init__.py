"""Several trainings by one config, one after the other: ``stages``."""

from .config import Stage, has_stages, read_stages
from .last import last_stage
from .options import give_options
from .run import train_stages

__all__ = [
    'Stage',
    'give_options',
    'has_stages',
    'last_stage',
    'read_stages',
    'train_stages',
]
