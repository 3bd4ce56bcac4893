"""What a row of the contract is: a loss, its options, and tensors to run it on.

The test file of a loss lists its rows as ``CASES``. Where it has none, it says why in
``WITHOUT_CASES``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from kd_plugins.losses import DistillationLoss, LossContext

# What a loss compares, by argument name; dimension 0 of each is rows.
Rows = dict[str, Tensor]


@dataclass(frozen=True)
class LossCase:
    """A loss, its options, and tensors to run it on.

    Args:
        name: id of the case; the loss's name and what is special.
        loss: the registered class.
        rows: makes that many float64 rows from torch's default generator; without
            'teacher' for a loss that reads none.
        options: arguments of the class, without ``loss_weight`` and ``reduction``.
        context: of the view.
        opt_outs: contract tests that do not hold, each with its reason.
        mask_sides: sides of a mask beyond the rows: a row is a map of one pixel.
    """

    name: str
    loss: type[DistillationLoss]
    rows: Callable[[int], Rows]
    options: dict[str, Any] = field(default_factory=dict)
    context: LossContext | None = None
    opt_outs: dict[str, str] = field(default_factory=dict)
    mask_sides: tuple[int, ...] = ()

    def build(self, **options: Any) -> DistillationLoss:
        """The loss with these options more."""
        return self.loss(**{**self.options, **options})

    def value(
        self,
        rows: Rows,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """The loss of these rows."""
        if mask is not None:
            mask = mask.reshape((*mask.shape, *self.mask_sides))
        arguments: dict[str, Any] = {**rows, 'mask': mask, 'avg_factor': avg_factor}
        if self.context is not None:
            arguments['context'] = self.context
        value: Tensor = self.build(**options)(**arguments)
        return value


@dataclass(frozen=True)
class LearnedCase(LossCase):
    """A loss with weights of its own, here the same each time it is built.

    Its parameters are float64 where the rows are; the first sample of its context
    stands for every row's.
    """

    def build(self, **options: Any) -> DistillationLoss:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return super().build(**options).double()

    def value(
        self,
        rows: Rows,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        arguments: dict[str, Any] = {**rows, 'mask': mask, 'avg_factor': avg_factor}
        if self.context is not None:
            step = self.context.step
            samples = [*step.samples[:1]] * len(rows['student'])
            arguments['context'] = replace(
                self.context, step=replace(step, samples=samples)
            )
        loss = self.build(**options)
        if rows['student'].dtype != torch.float64:
            loss.float()
        value: Tensor = loss(**arguments)
        return value


def logits(columns: int) -> Callable[[int], Rows]:
    """Logits of as many classes, shape (rows, columns)."""
    return lambda rows: {
        'student': 2 * torch.randn(rows, columns, dtype=torch.float64),
        'teacher': 2 * torch.randn(rows, columns, dtype=torch.float64),
    }


def labelled(labels: int, *shape: int) -> Callable[[int], Rows]:
    """Logits, shape (rows, *shape), and labels below ``labels``, one a row or pixel."""
    return lambda rows: {
        'student': 2 * torch.randn(rows, *shape, dtype=torch.float64),
        'teacher': 2 * torch.randn(rows, *shape, dtype=torch.float64),
        'target': torch.randint(labels, (rows, *shape[1:])).double(),
    }


def features(*shape: int) -> Callable[[int], Rows]:
    """Features, shape (rows, *shape)."""
    return lambda rows: {
        'student': torch.randn(rows, *shape, dtype=torch.float64),
        'teacher': torch.randn(rows, *shape, dtype=torch.float64),
    }


def bounded_deltas(rows: int) -> Rows:
    """Deltas, of which two in three are worse than the teacher's by a clear margin."""
    target = torch.randn(rows, 4, dtype=torch.float64)
    error = torch.randn(rows, 4, dtype=torch.float64)
    factor = torch.tensor([0.5, 0.1, 2.0], dtype=torch.float64).repeat(rows)[:rows]
    return {
        'student': target + error,
        'teacher': target + error * factor[:, None],
        'target': target,
    }


def alone(labels: int, *shape: int, **widths: int) -> Callable[[int], Rows]:
    """Logits and labels of the student alone, and features of these widths."""

    def rows(count: int) -> Rows:
        made = labelled(labels, *shape)(count)
        del made['teacher']
        return made | {
            name: torch.randn(count, width, *shape[1:], dtype=torch.float64)
            for name, width in widths.items()
        }

    return rows


ENTROPY = {
    'test_zero_where_student_equals_teacher': (
        'a cross-entropy: where the two agree it is an entropy'
    ),
}
ANY_CHANNELS = {
    'test_shapes_that_differ_are_refused': (
        'channels may differ; what may not is tested in the file of the loss'
    ),
}
# Relations between the samples of a process; a case's rows are samples.
RELATIONS = ANY_CHANNELS | {
    'test_ranks_average_to_the_whole': (
        'relations within the batch of a process, as in the paper: those between ranks '
        'are not seen'
    ),
}
DIVIDED_BY_SAMPLES = {
    'test_repeating_the_batch_leaves_the_mean': (
        'as the paper divides, twice as many samples of a kind give half the value'
    ),
    'test_positive_where_they_differ': 'for the same reason smaller: of 200 samples',
}
# What reads no teacher has nothing to agree or to disagree with.
ALONE = {
    'test_zero_where_student_equals_teacher': 'there is no teacher',
    'test_shapes_that_differ_are_refused': 'there is one tensor',
}
# Of a soft label that the student itself gives, from all rows of a process.
SELF_LABELLED = ALONE | {
    'test_gradcheck': 'the soft label is of the student, and takes no gradient',
    'test_ranks_average_to_the_whole': (
        'the soft label takes the mean over the batch of a process, as in the paper'
    ),
}
TRAINED = {
    'test_leaves_nothing_in_the_checkpoint': 'its blocks are trained with the student',
}
