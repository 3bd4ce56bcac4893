"""Activation checkpointing as mmengine switches it on, by torch's later algorithm."""

from collections.abc import Callable, Sequence
from functools import wraps
from operator import attrgetter
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from ..errors import ConfigError, nearest


def check_modules(model: nn.Module, names: str | Sequence[str]) -> None:
    """Refuse names of ``activation_checkpointing`` that are no layers of the model.

    Args:
        model: unwrapped.
        names: as the config gives them; of a distiller also the student's own names.

    Raises: ConfigError with the nearest names.
    """
    for name in [names] if isinstance(names, str) else names:
        try:
            layer = attrgetter(name)(model)
        except AttributeError:
            layer = None
        if not isinstance(layer, nn.Module):
            student = getattr(model, 'student', model)
            known = [path for path, _ in student.named_modules()]
            raise ConfigError(
                f"the student has no layer '{name}'. {nearest(name, known)}",
                key='activation_checkpointing',
            )


def without_reentry(model: nn.Module, names: str | Sequence[str]) -> None:
    """Let layers that mmengine checkpoints be computed again without reentry.

    mmengine leaves the choice to torch, whose default still computes the layer without
    a graph, and calls backward within backward. Layers behind a frozen stem then get no
    gradient, silently, and gradients of a part of the model cannot be asked for. The
    values are the same.

    Args:
        model: unwrapped, after ``turn_on_activation_checkpointing``.
        names: those given to it.
    """
    for name in [names] if isinstance(names, str) else names:
        layer = attrgetter(name)(model)
        layer.forward = _checkpointed(layer.forward.__wrapped__)


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def wrapper(*inputs: Any, **options: Any) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    return wrapper
