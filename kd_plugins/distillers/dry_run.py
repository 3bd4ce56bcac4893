"""A pair's loss on zeros of the shapes it will compare, before training."""

import copy
from dataclasses import replace
from typing import Any

import torch

from ..errors import ConfigError, ShapeError, located
from ..losses import DistillationLoss, StepData
from ..views import TensorSpec
from .pair import optional_inputs
from .zeros import ROWS, zeros_of


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
    item = zeros_of(spec, rows=ROWS, channels=channels)
    student, teacher = item.student, item.teacher
    available: dict[str, Any] = {
        'target': item.target,
        'mask': item.mask,
        'avg_factor': item.count,
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
