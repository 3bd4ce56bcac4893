"""Points and anchors on the grids of the levels."""

from typing import Any

import torch

from ...errors import ConfigError


def check_priors(student: Any, teacher: Any, key: str, where: str) -> None:
    """Refuse two heads that do not judge the same points or anchors.

    Args:
        student: head with a ``prior_generator``.
        teacher: likewise.
        key: what to change in both models.
        where: configuration key, for messages.

    Raises: ConfigError if they differ.
    """
    sizes = [(2, 2)] * len(student.prior_generator.strides)
    grids = [
        head.prior_generator.grid_priors(sizes, device='cpu')
        if len(head.prior_generator.strides) == len(sizes)
        else []
        for head in (student, teacher)
    ]
    same = len(grids[0]) == len(grids[1]) and all(
        one.shape == other.shape and torch.allclose(one, other)
        for one, other in zip(*grids, strict=True)
    )
    if not same:
        raise ConfigError(
            f'{where}: the anchors of student and teacher differ: student '
            f'{student.prior_generator}, teacher {teacher.prior_generator}. Set the '
            f'same {key} in both, or distil layers.'
        )
