"""The summary of a distillation, logged before its first iteration."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ..tables import table_lines
from ..teachers import Teacher
from .pair import NO_TEACHER, Pair
from .pair_adapters import Unadapted

_CPU = torch.device('cpu')
_HEADER = ('pair', 'tensors', 'student', 'teacher', 'adapter', 'loss', 'weight')


def summary_table(
    pairs: Sequence[Pair],
    teachers: Mapping[str, Teacher],
    parts: Mapping[str, Sequence[str]],
    inherited: Sequence[str] = (),
    device: torch.device = _CPU,
) -> str:
    """Pairs, shapes, adapters and weights as a table, then what of each teacher runs.

    Shapes are those of one image of 128x128, or of the smallest that the models run on;
    R stands for as many rows as RoIs or anchors are sampled. The device is that on
    which the teachers will run.
    """
    rows: list[Sequence[str]] = []
    for pair in pairs:
        for number, spec in enumerate(pair.tensors):
            rows.append(
                (
                    pair.name if number == 0 else '',
                    spec.name,
                    _shape(spec.student),
                    '-' if pair.teacher == NO_TEACHER else f'-> {_shape(spec.teacher)}',
                    '-' if pair.adapters is None else _adapter(pair.adapters[number]),
                    pair.shown_loss() if number == 0 else '',
                    pair.shown_weight() if number == 0 else '',
                )
            )
    lines = table_lines(_HEADER, rows)
    for name, teacher in teachers.items():
        lines.append(
            f"teacher '{name}': {teacher.describe()}; "
            f'{teacher.runs(parts[name], device)}'
            if parts[name]
            else f"teacher '{name}': {teacher.describe()}; no pair asks for it"
        )
    if not teachers:
        lines.append('no teacher: the student learns from its labels and from itself')
    if inherited:
        lines.append(f'the student starts from its {", ".join(inherited)}')
    return '\n'.join(lines)


def _shape(shape: Sequence[int]) -> str:
    return 'x'.join('R' if side < 0 else str(side) for side in shape)


def _adapter(adapter: nn.Module) -> str:
    if isinstance(adapter, Unadapted):
        return '-'
    number = sum(parameter.numel() for parameter in adapter.parameters())
    return f'{type(adapter).__name__} ({number:,} parameters)'
