"""A pair's loss on zeros of the shapes it will compare, before training."""

import copy
from dataclasses import replace
from typing import Any

import torch

from ..errors import ConfigError, ShapeError, located
from ..losses import DistillationLoss, StepData
from ..views import TensorSpec
from .pair import optional_inputs

ROWS = 2  # stands for the rows of a shape that depends on the batch


def known_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of two rows where their number depends on the batch."""
    return tuple(ROWS if side < 0 else side for side in shape)


def dry_run(
    loss: DistillationLoss,
    spec: TensorSpec,
    channels: int,
    name: str,
    size: tuple[int, int],
) -> None:
    """Compute a loss once, on a copy of it.

    Args:
        loss: of the pair.
        spec: level or stage.
        channels: of the student, behind its adapter.
        name: of the pair.
        size: height and width of an image.

    Raises: ConfigError if the loss cannot compare what this level or stage gives.
    """
    teacher = torch.zeros(known_shape(spec.teacher))
    student = torch.zeros(len(teacher), channels, *teacher.shape[2:])
    target = mask = None
    if spec.target is not None:
        maps = teacher.dim() == 4
        # One number a row or pixel is a label; but RPNs ask yes or no.
        labels = len(spec.target) == 3
        if not maps:
            labels = len(spec.target) == 1 and spec.context.activation != 'sigmoid'
        target = torch.zeros(
            known_shape(spec.target), dtype=torch.long if labels else torch.float
        )
        # One number a row; of maps, one a pixel.
        mask = torch.ones((len(teacher), *teacher.shape[2:]) if maps else len(teacher))
    available: dict[str, Any] = {
        'target': target,
        'mask': mask,
        'avg_factor': float(len(teacher)),
        'context': replace(
            spec.context,
            pair=name,
            step=StepData(torch.zeros(len(teacher), 3, *size)),
            dry_run=True,
        ),
    }
    inputs = {key: available[key] for key in optional_inputs(loss)}
    with located(f'at {spec.name}'):
        try:
            with torch.no_grad():
                copy.deepcopy(loss)(student, teacher, **inputs)
        except ConfigError:
            raise
        except ShapeError as error:
            raise ConfigError(str(error)) from error
        except Exception as error:  # whatever a foreign loss may raise
            raise ConfigError(
                f'a dry run of {type(loss).__name__} on zeros {tuple(student.shape)} '
                f'failed: {type(error).__name__}: {error}. Choose another loss for '
                'this pair.'
            ) from error
