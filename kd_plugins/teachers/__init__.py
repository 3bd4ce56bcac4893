"""Teachers: built, loaded strictly and safely, frozen, and fed their own inputs."""

from ..hosts import required  # noqa: F401
from .build import Teachers, build_teachers
from .ensemble import Ensemble
from .privileged import Privileged
from .route import Route, greedy_anchor
from .teacher import Teacher, model_config, without_pretrained

__all__ = [
    'Ensemble',
    'Privileged',
    'Route',
    'Teacher',
    'Teachers',
    'build_teachers',
    'greedy_anchor',
    'model_config',
    'without_pretrained',
]
