"""What a tool or a notebook calls: train, evaluate, export, analyze, visualize."""

from ..hosts import required  # noqa: F401
from .analyze import analyze
from .cache import fill_cache
from .distill import distill
from .export import export_student
from .test import evaluate
from .train import build_runner, prepare_config, train
from .visualize import visualize

__all__ = [
    'analyze',
    'build_runner',
    'distill',
    'evaluate',
    'export_student',
    'fill_cache',
    'prepare_config',
    'train',
    'visualize',
]
