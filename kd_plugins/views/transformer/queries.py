"""Transformers that detect by queries: what of them can be matched, and what not."""

from torch import nn

from ..base import UnservedError


def is_transformer(model: nn.Module) -> bool:
    """Whether a model is one of mmdet's DetectionTransformers, or made like them."""
    return hasattr(model, 'pre_transformer') and hasattr(model, 'forward_encoder')


def refuse_queries(model: nn.Module) -> None:
    """Refuse a transformer where a view compares answers point by point.

    Raises: UnservedError.
    """
    if is_transformer(model):
        raise UnservedError(
            f'{type(model).__name__} answers by queries, not at points of the '
            'image: no query of the student is one of the teacher, so that their '
            'logits and boxes cannot be compared row by row.'
        )


def refuse_behind_queries(model: nn.Module, path: str) -> None:
    """Refuse a layer of a transformer that its features do not run through.

    Raises: UnservedError for every layer of its encoder, decoder and head.
    """
    if is_transformer(model) and path.split('.')[0] not in ('backbone', 'neck'):
        raise UnservedError(
            f"'{path}' of {type(model).__name__} is no layer of its backbone "
            'or neck, and reads more than their features.'
        )
