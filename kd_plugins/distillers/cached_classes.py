"""Whether pairs can be taught by a few probable classes of each pixel."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import ConfigError, located
from ..losses import StepData
from ..random_stream import seeded
from ..teachers import Teacher
from .pair import Pair, loss_of
from .zeros import zeros_of

_ROWS = 2
_CLOSE = 1e-3


def check_cached_classes(
    pairs: Sequence[Pair], teachers: Mapping[str, Teacher]
) -> None:
    """Refuse ``cache.classes`` of a teacher whose logits are read for more.

    Stored are probabilities, which are the same whatever number is added to all logits
    of a pixel. Each pair's loss is tried on such logits, on copies of it.

    Raises: ConfigError naming the pair, or that there is none of class maps.
    """
    for name, teacher in teachers.items():
        if teacher.cache is None or teacher.cache.options.classes is None:
            continue
        asking = [pair for pair in pairs if pair.teacher == name]
        of_classes = [pair for pair in asking if pair.view.activations is not None]
        with located(f'{teacher.key}.cache.classes'):
            if not of_classes:
                raise ConfigError(
                    "is of class maps of pixels, which only view='seg.logits' reads, "
                    'and no pair of this teacher has it. Remove it.'
                )
            for pair in of_classes:
                _check(pair)


def _check(pair: Pair) -> None:
    assert pair.view.activations is not None
    if pair.view.activations['teacher'] != 'softmax':
        raise ConfigError(
            f'{pair.key} reads classes of a sigmoid each, whose probabilities do not '
            'add up to 1. Remove it.'
        )
    if _reads_logits(pair):
        raise ConfigError(
            f'{type(pair.loss).__name__} of {pair.key} reads more of the logits than '
            "each pixel's probabilities: it changes when a number is added to all "
            'logits of a pixel. Remove it, and the logits are stored whole.'
        )


def _reads_logits(pair: Pair) -> bool:
    item = zeros_of(pair.tensors[0], rows=_ROWS)
    generator = torch.Generator().manual_seed(0)

    def drawn(shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=generator)

    teacher = 2 * drawn(item.teacher.shape)
    student = drawn(item.teacher.shape)
    shift = 3 * drawn((len(teacher), 1, *teacher.shape[2:]))
    context = replace(
        item.context,
        pair=pair.name,
        step=StepData(torch.zeros(len(teacher), 3, 8, 8), iteration=0),
        dry_run=True,
    )
    values = []
    for logits in (teacher, teacher + shift):
        loss = copy.deepcopy(pair.loss)
        loss.loss_weight = 1.0  # of a schedule it may be 0 at first
        with torch.no_grad(), seeded(0):
            drawn_item = replace(item, teacher=logits)
            value = loss_of(loss, student, drawn_item, context, pair.target_transform)
            values.append(float(value))
    first, second = values
    return abs(first - second) > _CLOSE * max(abs(first), abs(second), _CLOSE)
