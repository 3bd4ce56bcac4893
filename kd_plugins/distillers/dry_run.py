"""A pair's loss on zeros of the shapes it will compare, before training."""

import copy
from dataclasses import replace

import torch

from ..errors import ConfigError, ShapeError, located
from ..losses import DistillationLoss, StepData
from ..target_transforms import TargetTransform
from ..views import TensorSpec
from .pair import loss_of
from .zeros import ROWS, zeros_of


def dry_run(
    loss: DistillationLoss,
    spec: TensorSpec,
    channels: int,
    name: str,
    size: tuple[int, int],
    target_transform: TargetTransform | None = None,
) -> None:
    """Compute a loss once, on a copy of it.

    Args:
        loss: of the pair.
        spec: level or stage.
        channels: of the student, behind its adapter.
        name: of the pair.
        size: height and width of an image.
        target_transform: of the pair, or None.

    Raises: ConfigError if the loss cannot compare what this level or stage gives.
    """
    item = zeros_of(spec, rows=ROWS, channels=channels)
    step = StepData(torch.zeros(len(item.teacher), 3, *size), iteration=0)
    context = replace(spec.context, pair=name, step=step, dry_run=True)
    with located(f'at {spec.name}'):
        try:
            with torch.no_grad():
                loss_of(
                    copy.deepcopy(loss), item.student, item, context, target_transform
                )
        except ConfigError:
            raise
        except ShapeError as error:
            raise ConfigError(str(error)) from error
        except Exception as error:  # whatever a foreign loss may raise
            raise ConfigError(
                f'a dry run of {type(loss).__name__} on zeros '
                f'{tuple(item.student.shape)} failed: {type(error).__name__}: {error}. '
                'Choose another loss for this pair.'
            ) from error
