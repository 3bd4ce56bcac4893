"""Which levels of a layer are compared."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...errors import ConfigError, nearest
from ..base import SIDES, Side

Levels = dict[Side, list[int] | None]


def read_levels(levels: Any) -> Levels:
    """Chosen levels of 'student' and 'teacher', None for all.

    Args:
        levels: a list for both, ``dict(student=[...], teacher=[...])``, or None.

    Raises: ConfigError for anything else.
    """
    both = levels if isinstance(levels, dict) else dict.fromkeys(SIDES, levels)
    chosen: Levels = dict.fromkeys(SIDES)
    for side, numbers in both.items():
        if side not in SIDES:
            raise ConfigError(f"no key '{side}'. {nearest(side, SIDES)}", key='levels')
        if numbers is None:
            continue
        if (
            not isinstance(numbers, (list, tuple))
            or not numbers
            or not all(isinstance(number, int) for number in numbers)
        ):
            raise ConfigError(
                f'must be a list of whole numbers such as [0, 1], got {numbers!r}.',
                key='levels',
            )
        chosen[side] = list(numbers)
    return chosen


def chosen_levels(
    outputs: Sequence[Tensor], levels: Sequence[int] | None, what: str
) -> list[Tensor]:
    """The outputs of these levels; all for None.

    Args:
        outputs: one a level.
        levels: numbers from 0.
        what: gives them, for messages.

    Raises: ConfigError for a level there is not.
    """
    if levels is None:
        return list(outputs)
    wrong = [level for level in levels if not 0 <= level < len(outputs)]
    if wrong:
        raise ConfigError(
            f'{what} gives {len(outputs)} levels, counted from 0; there is no '
            f'{wrong[0]}.',
            key='levels',
        )
    return [outputs[level] for level in levels]
