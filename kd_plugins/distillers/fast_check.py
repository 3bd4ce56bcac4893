"""Is the fast copy of a teacher near enough? At the first batch, both run once."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor

from ..random_stream import random_state_kept
from ..tables import table_lines
from ..teachers import Teacher
from ..teachers.fast_copy import FastModel
from ..views import MatchedTensors
from .pair import Pair
from .step import Matched, Step
from .teacher_run import teacher_run

_MESSAGE_LENGTH = 200  # of an error; one of torch's lists every kind of device


@dataclass(frozen=True)
class Difference:
    """By how much a pair differs between a fast copy and the plain teacher.

    Attributes:
        tensors: norm of the difference of the teacher's tensors, all levels or stages
            together, over the plain ones' norm; infinite where they are not finite.
        loss: likewise, of the loss at weight 1. Where student and teacher start as one
            model it says nothing, so that it is shown, and decides only if infinite.
    """

    tensors: float
    loss: float


def fast_of(teacher: Teacher, device: torch.device) -> FastModel | None:
    """The copy that runs in this step; None: the plain teacher does.

    The first copy is made here, as long as nothing is attached to the teacher. Where
    that fails, the comparison says so.

    Args:
        teacher: which one.
        device: of the batch.
    """
    used = teacher.fast.is_used(device)
    if used:
        return teacher.fast.copy_of(teacher.prepare(device), device)
    if used is None and torch.is_grad_enabled():
        teacher.fast.prepare(teacher.prepare(device), device)
    return None


def is_due(teacher: Teacher, pairs: Sequence[Pair], step: Step) -> bool:
    """Whether this step decides about a teacher: a training's first that asks it all.

    Args:
        teacher: which one.
        pairs: all of this teacher.
        step: of the student's training; what only measures decides nothing.
    """
    return (
        torch.is_grad_enabled()
        and not step.exact
        and teacher.fast.is_used(step.inputs.device) is None
        and teacher.fast.prepared
        and all(pair.check and pair.name in step.active for pair in pairs)
    )


def decide(
    teacher: Teacher, pairs: Sequence[Pair], step: Step, matched: Matched
) -> None:
    """Run the fast copy as well, compare, log, and let the teacher use it or not.

    The same on all ranks: each difference is the largest of theirs. What the student
    learns in this step is of the plain teacher, and no later draw shifts.

    Args:
        teacher: which one.
        pairs: all of this teacher.
        step: in which the plain teacher has run.
        matched: its tensors, by pair.
    """
    failure = ''
    differences: dict[str, Difference] = {}
    with random_state_kept():
        try:
            others = _match_fast(teacher, pairs, step)
        except Exception as error:  # whatever a foreign model may raise
            failure = f'{type(error).__name__}: {error}'.splitlines()[0]
        failed = torch.tensor(float(bool(failure)), device=step.inputs.device)
        all_reduce(failed, op='max')
        if not failed:
            differences = {
                pair.name: _difference(
                    pair, step, matched[pair.name], others[pair.name]
                )
                for pair in pairs
            }
            differences = _largest(differences, step.inputs.device)
    _conclude(teacher, pairs, differences, failure, step.inputs.device)


def _match_fast(teacher: Teacher, pairs: Sequence[Pair], step: Step) -> Matched:
    device = step.inputs.device
    fast = teacher.fast.copy_of(teacher.model, device)
    views = [pair.views[teacher.name] for pair in pairs]
    with teacher_run(teacher, views, step.inputs, step.samples, fast=fast) as run:
        run.take_proposals(step.teachers[teacher.name])
        copied = replace(step, teachers={**step.teachers, teacher.name: run})
        return {pair.name: pair.match(copied) for pair in pairs}


def _difference(
    pair: Pair,
    step: Step,
    plain: Sequence[MatchedTensors | None],
    fast: Sequence[MatchedTensors | None],
) -> Difference:
    both = [
        (one.teacher, other.teacher)
        for one, other in zip(plain, fast, strict=True)
        if one is not None and other is not None
    ]
    change = _norm([(other - one).float() for one, other in both])
    counted = [
        other if one is None or other is None else replace(other, count=one.count)
        for one, other in zip(plain, fast, strict=True)
    ]
    values = [pair.trial(step, matched) for matched in (plain, counted)]
    return Difference(
        _ratio(change, _norm([one.float() for one, _ in both])),
        _ratio(float(values[1] - values[0]), float(values[0])),
    )


def _norm(tensors: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(item.square().sum()) for item in tensors))


def _ratio(change: float, whole: float) -> float:
    if not math.isfinite(change):
        return math.inf
    return abs(change) / abs(whole) if whole else float(change != 0)


def _largest(
    differences: dict[str, Difference], device: torch.device
) -> dict[str, Difference]:
    """Of all ranks."""
    numbers = torch.tensor(
        [(item.tensors, item.loss) for item in differences.values()],
        dtype=torch.float64,
        device=device,
    )
    all_reduce(numbers, op='max')
    return {
        name: Difference(*row)
        for name, row in zip(differences, numbers.tolist(), strict=True)
    }


def _conclude(
    teacher: Teacher,
    pairs: Sequence[Pair],
    differences: dict[str, Difference],
    failure: str,
    device: torch.device,
) -> None:
    """Decide, and say what was decided, in a table or in a line."""
    options, key = teacher.fast.options, f'{teacher.key}.fast'
    assert options is not None
    worst = max(pairs, key=lambda pair: _error(differences, pair))
    used = bool(differences) and _error(differences, worst) <= options.tolerance
    if used:
        switches = teacher.fast.switches(device).describe()
        lines = [f"Teacher '{teacher.name}' runs as a fast copy ({switches}):"]
        lines += _table(differences)
        print_log('\n'.join(lines), 'current')
    else:
        why = failure[:_MESSAGE_LENGTH] or 'the copy failed on another rank'
        if differences:
            error = _error(differences, worst)
            why = (
                f"the teacher's tensors of {worst.key} differ by {error:.2g}, more "
                f'than {options.tolerance:g} ({key}.tolerance)'
            )
        print_log(
            f"Teacher '{teacher.name}' runs as it is, not as a fast copy: {why}. "
            f'{key}=False saves the attempt.',
            'current',
            logging.WARNING,
        )
    teacher.fast.decide(used)


def _error(differences: dict[str, Difference], pair: Pair) -> float:
    if not differences:
        return 0.0
    difference = differences[pair.name]
    return difference.tensors if math.isfinite(difference.loss) else math.inf


def _table(differences: dict[str, Difference]) -> list[str]:
    rows = [
        (name, f'{item.tensors:.2g}', f'{item.loss:.2g}')
        for name, item in differences.items()
    ]
    return table_lines(('pair', 'error of tensors', 'of loss'), rows, 'plain')
