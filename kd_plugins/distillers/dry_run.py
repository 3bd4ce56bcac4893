"""A pair's loss on zeros of the shapes it will compare, before training."""

import copy
from dataclasses import replace
from typing import Any

import torch

from ..errors import ConfigError, ShapeError
from ..losses import DistillationLoss
from ..views import Place
from ..views.probe import SIDE
from .pair import optional_inputs

ROWS = 2  # stands for the rows of a shape that depends on the batch


def known_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of two rows where their number depends on the batch."""
    return tuple(ROWS if side < 0 else side for side in shape)


def dry_run(
    loss: DistillationLoss, place: Place, channels: int, name: str, where: str
) -> None:
    """Compute a loss once, on a copy of it.

    Args:
        loss: of the pair.
        place: level or stage.
        channels: of the student, behind its adapter.
        name: of the pair.
        where: configuration key of the loss, for messages.

    Raises: ConfigError if the loss cannot compare what this place gives.
    """
    teacher = torch.zeros(known_shape(place.teacher))
    student = torch.zeros(len(teacher), channels, *teacher.shape[2:])
    target = mask = None
    if place.target is not None:
        maps = teacher.dim() == 4
        # One number a row or pixel is a label; but RPNs ask yes or no.
        labels = len(place.target) == 3
        if not maps:
            labels = len(place.target) == 1 and place.context.activation != 'sigmoid'
        target = torch.zeros(
            known_shape(place.target), dtype=torch.long if labels else torch.float
        )
        # One number a row; of maps, one a pixel.
        mask = torch.ones((len(teacher), *teacher.shape[2:]) if maps else len(teacher))
    available: dict[str, Any] = {
        'target': target,
        'mask': mask,
        'avg_factor': float(len(teacher)),
        'context': replace(
            place.context,
            pair=name,
            inputs=torch.zeros(len(teacher), 3, SIDE, SIDE),
            dry_run=True,
        ),
    }
    inputs = {key: available[key] for key in optional_inputs(loss)}
    try:
        with torch.no_grad():
            copy.deepcopy(loss)(student, teacher, **inputs)
    except (ConfigError, ShapeError) as error:
        raise ConfigError(f'{where} at {place.name}: {error}') from error
    except Exception as error:  # whatever a foreign loss may raise
        raise ConfigError(
            f'{where}: a dry run of {type(loss).__name__} on zeros '
            f'{tuple(student.shape)} at {place.name} failed: {type(error).__name__}: '
            f'{error}. Choose another loss for this pair.'
        ) from error
