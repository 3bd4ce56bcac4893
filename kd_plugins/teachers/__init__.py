"""Teachers: built, loaded strictly and safely, frozen, and fed their own inputs."""

from ..hosts import required  # noqa: F401
from .teacher import Teacher, build_teachers, model_config, without_pretrained

__all__ = ['Teacher', 'build_teachers', 'model_config', 'without_pretrained']
