"""Blocks that a loss trains with the student, one for each level of the FPN."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from kd_plugins.checks import check_int
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import LossContext

_MOST = 100  # levels: no model has as many


def read_channels(channels: int | None, minimum: int = 1) -> int:
    """A configuration's ``channels``.

    Raises: ConfigError unless it is a whole number and large enough.
    """
    return check_int('channels', channels, minimum)


def check_channels(feature: Tensor, channels: int) -> None:
    """Refuse a feature (N, C, H, W) of other channels than the blocks.

    Raises: ShapeError, that names the key to change.
    """
    if feature.shape[1] != channels:
        raise ShapeError(
            f'channels={channels}, and the features to compare, '
            f'{tuple(feature.shape)}, have {feature.shape[1]}. Set '
            f'channels={feature.shape[1]}; levels of different channels need a pair '
            'each.'
        )


def blocks_by_level(
    levels: int | Sequence[int], build: Callable[[int], nn.Module]
) -> nn.ModuleDict:
    """A block for each level, by the level's number.

    Args:
        levels: how many, counted from 0; or which, as in the pair's own ``levels``.
        build: makes a block, from its index among the levels.

    Raises: ConfigError for another value.

    Example:
        >>> list(blocks_by_level([1, 3], lambda index: nn.ReLU()))
        ['1', '3']
    """
    numbers = levels
    if type(levels) is int and 1 <= levels <= _MOST:
        numbers = range(levels)
    if (
        not isinstance(numbers, Sequence)
        or not numbers
        or len(set(numbers)) < len(numbers)
        or not all(type(number) is int and number >= 0 for number in numbers)
    ):
        raise ConfigError(
            f'levels must be how many, 1 to {_MOST}, or a list of different ones such '
            f'as [1, 2], got {levels!r}.'
        )
    return nn.ModuleDict(
        {str(number): build(index) for index, number in enumerate(numbers)}
    )


def number_at(name: str, numbers: Sequence[int]) -> Callable[[int], int]:
    """From a level's index to its number; levels beyond the list take the last.

    Raises: ConfigError unless they are a list of whole numbers >= 1.

    Example:
        >>> at = number_at('pools', [8, 4])
        >>> at(0), at(1), at(2)
        (8, 4, 4)
    """
    if not isinstance(numbers, Sequence) or not numbers:
        raise ConfigError(f'{name} must be a list such as [4, 4, 2], got {numbers!r}.')
    for index, number in enumerate(numbers):
        check_int(f'{name}[{index}]', number)
    return lambda index: numbers[min(index, len(numbers) - 1)]


def block_at(blocks: nn.ModuleDict, context: LossContext | None) -> nn.Module:
    """The block of the level that the tensors come from.

    Args:
        blocks: by level.
        context: of the tensors; without a level there must be a single block.

    Raises: ConfigError if there is none.
    """
    level = None if context is None else context.level
    if level is None and len(blocks) == 1:
        return next(iter(blocks.values()))
    if level is None:
        raise ConfigError(
            f'levels: the loss has {len(blocks)}, and the level of these tensors is '
            'unknown. Set levels=1.'
        )
    if str(level) not in blocks:
        shown = ', '.join(blocks)
        raise ConfigError(
            f'levels: the loss has blocks for {shown}, and none for level {level}. '
            f'Set levels={level + 1}, or list those of the pair: '
            f'levels=[{shown}, {level}].'
        )
    return blocks[str(level)]


def zero_of_others(blocks: nn.ModuleDict, block: nn.Module) -> Tensor:
    """0, with a graph through the other levels' parameters.

    DDP waits for the gradient of each parameter, even if the pair has fewer levels.
    """
    zero = torch.zeros((), device=next(block.parameters()).device)
    for other in blocks.values():
        if other is not block:
            for parameter in other.parameters():
                zero = zero + 0 * parameter.sum()
    return zero
