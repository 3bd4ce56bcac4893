"""Transformers that detect by queries: what of them can be matched, and what not."""

from typing import Any

from ...errors import ConfigError
from ..heads import part_of

_USE = "Use view='encoder.memory', or layer='neck'."


def is_transformer(model: Any) -> bool:
    """Whether a model is one of mmdet's DetectionTransformers, or made like them."""
    return hasattr(model, 'pre_transformer') and hasattr(model, 'forward_encoder')


def refuse_queries(model: Any, where: str) -> None:
    """Refuse a transformer where a view compares answers place by place.

    Raises: ConfigError saying what to use instead.
    """
    if is_transformer(model):
        raise ConfigError(
            f'{where}: {type(model).__name__} answers by queries, not at points of the '
            'image: no query of the student is one of the teacher, so that their '
            f'logits and boxes cannot be compared row by row. {_USE}'
        )


def refuse_behind_queries(model: Any, path: str, where: str) -> None:
    """Refuse a layer of a transformer that its features do not run through.

    Raises: ConfigError saying what to use instead.
    """
    if is_transformer(model) and part_of(path) not in ('backbone', 'neck'):
        raise ConfigError(
            f"{where}: '{path}' of {type(model).__name__} is no layer of its backbone "
            f'or neck, and reads more than their features. {_USE}'
        )
