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
    numbers_of: Levels = dict.fromkeys(SIDES)
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
        numbers_of[side] = list(numbers)
    return numbers_of


def levels_of_equal_size(
    student: Sequence[Sequence[int]], teacher: Sequence[Sequence[int]]
) -> list[tuple[int, int]]:
    """Numbers of the student's and the teacher's levels that are of one size.

    Sizes that a model has twice are left out: which of them is meant is not known.

    Args:
        student: height and width, or the whole shape, of each level.
        teacher: likewise.

    Example:
        >>> levels_of_equal_size([(8, 8), (4, 4)], [(16, 16), (8, 8), (4, 4)])
        [(0, 1), (1, 2)]
    """
    sizes = [[tuple(shape[-2:]) for shape in levels] for levels in (student, teacher)]
    return [
        (sizes[0].index(size), sizes[1].index(size))
        for size in sizes[0]
        if sizes[0].count(size) == sizes[1].count(size) == 1
    ]


def shown_levels(student: Sequence[int], teacher: Sequence[int]) -> str:
    """Levels as a pair writes them.

    Example:
        >>> shown_levels([1, 2], [1, 2])
        'levels=[1, 2]'
        >>> shown_levels([0, 1], [1, 2])
        'levels=dict(student=[0, 1], teacher=[1, 2])'
    """
    if list(student) == list(teacher):
        return f'levels={list(student)}'
    return f'levels=dict(student={list(student)}, teacher={list(teacher)})'


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
