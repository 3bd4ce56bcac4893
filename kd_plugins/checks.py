"""Validation of what a configuration or a caller gives: numbers, choices, shapes."""

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

from kd_plugins.errors import ConfigError, ShapeError

_AXES = {
    'N': 'batch size',
    'M': 'rows',
    'R': 'rows',
    'D': 'box components',
    'K': 'classes',
    'C': 'channels',
    'H': 'height',
    'W': 'width',
}


def check_float(
    name: str, value: object, *, minimum: float = 0.0, strict: bool = False
) -> float:
    """The value as a float, if it is a finite number and large enough.

    Args:
        name: how the configuration calls it.
        value: what was given.
        minimum: the smallest value allowed.
        strict: whether the value must be larger than ``minimum``.

    Raises: ConfigError otherwise.

    Example:
        >>> check_float('temperature', 2, strict=True)
        2.0
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        enough = number > minimum if strict else number >= minimum
        if math.isfinite(number) and enough:
            return number
    sign = '>' if strict else '>='
    raise ConfigError(
        f'{name} must be a finite number {sign} {minimum:g}, got {value!r}.'
    )


def check_int(name: str, value: object, minimum: int = 1) -> int:
    """The value, if it is a whole number and large enough.

    Raises: ConfigError otherwise, for None too.

    Example:
        >>> check_int('max_nodes', 900)
        900
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
        return value
    raise ConfigError(f'{name} must be a whole number >= {minimum}, got {value!r}.')


def check_optional_int(name: str, value: object, minimum: int = 1) -> int | None:
    """None, or the value as :func:`check_int` has it."""
    return None if value is None else check_int(name, value, minimum)


def check_bool(name: str, value: object) -> bool:
    """The value, if it is True or False: a text such as 'False' would count as True.

    Raises: ConfigError otherwise.

    Example:
        >>> check_bool('standardize', True)
        True
    """
    if isinstance(value, bool):
        return value
    raise ConfigError(f'{name} must be True or False, got {value!r}.')


def read_class_weights(weights: Sequence[float] | None) -> Tensor | None:
    """A configuration's ``class_weights`` as a tensor (K,).

    Raises: ConfigError unless they are a list of numbers >= 0.

    Example:
        >>> read_class_weights([1, 0.5])
        tensor([1.0000, 0.5000])
    """
    if weights is None:
        return None
    if not isinstance(weights, Sequence) or not weights:
        raise ConfigError(f'class_weights must be a list of numbers, got {weights!r}.')
    return torch.tensor(
        [
            check_float(f'class_weights[{index}]', weight)
            for index, weight in enumerate(weights)
        ]
    )


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """The value, if it is one of the choices.

    Raises: ConfigError otherwise, naming the choices.

    Example:
        >>> check_choice('reduction', 'mean', ('none', 'mean', 'sum'))
        'mean'
    """
    if value in choices:
        return value
    *first, last = (f"'{choice}'" for choice in choices)
    raise ConfigError(f'{name} must be {", ".join(first)} or {last}, got {value!r}.')


def check_same_shape(
    student: Tensor,
    teacher: Tensor,
    *,
    layout: str,
    names: tuple[str, str] = ('student', 'teacher'),
) -> None:
    """Refuse two tensors that would have to be broadcast.

    Args:
        student: first tensor.
        teacher: second tensor.
        layout: the axes by letter, ``'NCHW'``; alternatives are split by ``'|'``.
        names: how the message calls the two.

    Raises: ShapeError naming the axes that differ and the entry to add to the pair.

    Example:
        >>> import torch
        >>> check_same_shape(torch.ones(2, 3), torch.ones(2, 3), layout='MK')
    """
    layouts = layout.split('|')
    shapes = [tuple(student.shape), tuple(teacher.shape)]
    for name, shape in zip(names, shapes, strict=True):
        if len(shape) not in map(len, layouts):
            allowed = ' or '.join(f'({", ".join(axes)})' for axes in layouts)
            raise ShapeError(f'{name} must be {allowed}, got {shape}.')
    if shapes[0] == shapes[1]:
        return
    both = f'{names[0]} {shapes[0]} and {names[1]} {shapes[1]} differ in'
    if len(shapes[0]) != len(shapes[1]):
        raise ShapeError(f'{both} their number of axes.')
    axes = next(axes for axes in layouts if len(axes) == student.dim())
    differing = [axis for axis, s, t in zip(axes, *shapes, strict=True) if s != t]
    raise ShapeError(
        f'{both} {", ".join(_AXES[axis] for axis in differing)}. '
        + _remedy(axes, differing, student, teacher)
    )


def check_same_size(student: Tensor, teacher: Tensor) -> None:
    """Refuse two maps (N, C, H, W) that differ in more than their channels.

    Raises: ShapeError otherwise, naming the entry to add to the pair.

    Example:
        >>> import torch
        >>> check_same_size(torch.ones(2, 3, 4, 5), torch.ones(2, 6, 4, 5))
    """
    for name, item in (('student', student), ('teacher', teacher)):
        if item.dim() != 4:
            raise ShapeError(f'{name} must be (N, C, H, W), got {tuple(item.shape)}.')
    sizes = [(len(item), *item.shape[2:]) for item in (student, teacher)]
    if sizes[0] != sizes[1]:
        raise ShapeError(
            f'student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ '
            'in batch size, height or width (their channels may). Of other sizes, add '
            "to this pair: adapter=dict(type='ResizeAdapter')."
        )


def _remedy(axes: str, differing: list[str], student: Tensor, teacher: Tensor) -> str:
    """What to change when these axes differ."""
    if axes[0] in differing:
        return 'Row by row, both must describe the same samples in the same order.'
    if 'C' in differing:
        kind = 'ConvAdapter' if 'H' in axes else 'LinearAdapter'
        at = axes.index('C')
        return (
            f"Add to this pair: adapter=dict(type='{kind}', "
            f'student_channels={student.shape[at]}, '
            f'teacher_channels={teacher.shape[at]}).'
        )
    if 'H' in differing or 'W' in differing:
        return "Add to this pair: adapter=dict(type='ResizeAdapter')."
    if 'K' in differing:
        return 'Student and teacher must know the same classes, in the same order.'
    return 'Both must encode boxes alike.'


def check_mask(mask: Tensor, rows: int) -> None:
    """Refuse a mask that is not one number per row.

    Raises: ShapeError otherwise.
    """
    if mask.shape != (rows,):
        raise ShapeError(
            f'mask must be ({rows},), one number per row, got {tuple(mask.shape)}.'
        )


def check_pixel_mask(mask: Tensor, maps: Tensor) -> None:
    """Refuse a mask (N, H, W) that does not fit maps (N, C, H, W).

    Raises: ShapeError otherwise.
    """
    size = (len(maps), *maps.shape[2:])
    if mask.shape != size:
        raise ShapeError(
            f'mask must be {size}, one number per pixel, got {tuple(mask.shape)}.'
        )
