"""One row per registered loss: what the contract tests run it on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kd_plugins.losses import (
    DeltaL2Loss,
    DistillationLoss,
    HintLoss,
    HolisticLoss,
    KDLoss,
    LogitL2Loss,
    LossContext,
    PairWiseLoss,
    PixelWiseLoss,
    TeacherBoundedLoss,
    WeightedClassKDLoss,
)

# What a loss compares, by argument name; dimension 0 of each is rows.
Rows = dict[str, Tensor]


@dataclass(frozen=True)
class LossCase:
    """A loss, its options, and tensors to run it on.

    Args:
        name: id of the case; the loss's name and what is special.
        loss: the registered class.
        rows: makes that many float64 rows from torch's default generator.
        options: arguments of the class, without ``loss_weight`` and ``reduction``.
        context: what the view would tell.
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


def logits(columns: int) -> Callable[[int], Rows]:
    """Logits of as many classes, shape (rows, columns)."""
    return lambda rows: {
        'student': 2 * torch.randn(rows, columns, dtype=torch.float64),
        'teacher': 2 * torch.randn(rows, columns, dtype=torch.float64),
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


ENTROPY = {
    'test_zero_where_student_equals_teacher': (
        'a cross-entropy: where the two agree it is an entropy'
    ),
}
# Losses without a row: what they are depends on weights of their own.
LEARNED = {HolisticLoss: 'a critic of random weights: test_holistic.py'}

ANY_CHANNELS = {
    'test_shapes_that_differ_are_refused': (
        'channels may differ; what may not is tested in test_pair_wise.py'
    ),
}

CASES = [
    LossCase('weighted_class_kd', WeightedClassKDLoss, logits(4), opt_outs=ENTROPY),
    LossCase(
        'weighted_class_kd-background_first',
        WeightedClassKDLoss,
        logits(4),
        {'temperature': 3.0},
        LossContext(activation='softmax', background=0),
        opt_outs=ENTROPY,
    ),
    LossCase(
        'weighted_class_kd-class_weights',
        WeightedClassKDLoss,
        logits(3),
        {'class_weights': [1.0, 0.5, 2.0]},
        opt_outs=ENTROPY,
    ),
    LossCase(
        'weighted_class_kd-one_column',
        WeightedClassKDLoss,
        logits(1),
        opt_outs=ENTROPY,
    ),
    LossCase(
        'weighted_class_kd-sigmoid',
        WeightedClassKDLoss,
        logits(3),
        {'class_weights': [1.0, 0.5, 2.0, 1.5], 'temperature': 2.0},
        LossContext(activation='sigmoid'),
        opt_outs=ENTROPY,
    ),
    LossCase('teacher_bounded', TeacherBoundedLoss, bounded_deltas),
    LossCase(
        'teacher_bounded-margin',
        TeacherBoundedLoss,
        bounded_deltas,
        {'margin': 0.01},
        opt_outs={
            'test_zero_where_student_equals_teacher': (
                'with a margin a student as good as the teacher is still pulled'
            ),
        },
    ),
    LossCase('delta_l2', DeltaL2Loss, features(4)),
    LossCase('hint-maps', HintLoss, features(3, 4, 5)),
    LossCase('hint-vectors', HintLoss, features(6)),
    LossCase('hint-l1', HintLoss, features(3, 2, 2), {'norm': 'l1'}),
    LossCase('kd', KDLoss, logits(4), {'temperature': 2.0}),
    LossCase('kd-one_column', KDLoss, logits(1)),
    LossCase(
        'kd-sigmoid', KDLoss, logits(3), {'temperature': 4.0, 'use_sigmoid': True}
    ),
    LossCase('logit_l2', LogitL2Loss, logits(4)),
    LossCase(
        'logit_l2-centred',
        LogitL2Loss,
        logits(4),
        {'normalize': 'elementmean', 'centre': True},
    ),
    LossCase('pair_wise', PairWiseLoss, features(3, 4, 5), opt_outs=ANY_CHANNELS),
    LossCase(
        'pair_wise-every_option',
        PairWiseLoss,
        features(3, 4, 5),
        {'max_nodes': 12, 'pool': 'max', 'connection_range': 4, 'max_entries': 20},
        opt_outs=ANY_CHANNELS
        | {
            'test_behind_a_layer_under_autocast': (
                'in bfloat16 another cell may be the maximum: the gradient goes there'
            ),
        },
    ),
    LossCase(
        'pixel_wise',
        PixelWiseLoss,
        features(3, 1, 1),
        {'temperature': 2.0},
        mask_sides=(1, 1),
    ),
    LossCase('kd-maps', KDLoss, features(3, 1, 1), mask_sides=(1, 1)),
    LossCase('logit_l2-maps', LogitL2Loss, features(3, 1, 1), mask_sides=(1, 1)),
    LossCase(
        'weighted_class_kd-maps',
        WeightedClassKDLoss,
        features(3, 1, 1),
        opt_outs=ENTROPY,
        mask_sides=(1, 1),
    ),
]
