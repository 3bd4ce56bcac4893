"""Points and anchors on the grids of the levels, and rows that belong to them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import shown
from ..host_types import HostModule
from .base import UnservedError

Maps = Sequence[Tensor]


def by_anchor(maps: Maps, columns: int) -> list[Tensor]:
    """Maps (N, A C, H, W) as rows (N, H W A, C), the order of the host's targets."""
    return [
        item.permute(0, 2, 3, 1).reshape(item.shape[0], -1, columns) for item in maps
    ]


def rows_at(levels: Sequence[Tensor], numbers: Tensor) -> Tensor:
    """Rows (M, ...) of these numbers, of levels (N, H W A, ...)."""
    return torch.cat([level.flatten(0, 1) for level in levels])[numbers]


def check_priors(student: HostModule, teacher: HostModule, key: str) -> None:
    """Refuse two heads that do not judge the same points or anchors.

    Args:
        student: head with a ``prior_generator``.
        teacher: likewise.
        key: what to change in both models.

    Raises: UnservedError if they differ.
    """
    sizes = [(2, 2)] * len(student.prior_generator.strides)
    grids = [_grids(head.prior_generator, sizes) for head in (student, teacher)]
    same = len(grids[0]) == len(grids[1]) and all(
        student_grid.shape == teacher_grid.shape
        and torch.allclose(student_grid, teacher_grid)
        for student_grid, teacher_grid in zip(*grids, strict=True)
    )
    if not same:
        raise UnservedError(
            f'the anchors of student and teacher differ: student '
            f'{shown(student.prior_generator)}, teacher '
            f'{shown(teacher.prior_generator)}. Set the same {key} in both.'
        )


def _grids(generator: Any, sizes: list[tuple[int, int]]) -> list[Tensor]:
    if len(generator.strides) != len(sizes):
        return []
    grids: list[Tensor] = generator.grid_priors(sizes, device='cpu')
    return grids
