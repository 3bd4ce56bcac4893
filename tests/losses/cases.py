"""One row per registered loss: what the contract tests run it on."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from kd_plugins.losses import (
    ABLoss,
    AILLoss,
    ATLoss,
    BDKDLoss,
    BoxIoULoss,
    CCLoss,
    CIRKDLoss,
    CRDLoss,
    CrossKDLoss,
    CWDLoss,
    DarkRankLoss,
    DeltaL2Loss,
    DistillationLoss,
    DISTLoss,
    DKDLoss,
    FBKDLoss,
    FGDLoss,
    FSPLoss,
    GradientATLoss,
    HintLoss,
    HolisticLoss,
    KDLoss,
    LDLoss,
    LogitL2Loss,
    LossContext,
    MasKDLoss,
    MGDLoss,
    NKDLoss,
    NSTLoss,
    OFDLoss,
    PairWiseLoss,
    PixelWiseLoss,
    PKDLoss,
    RKDLoss,
    SPLoss,
    StepData,
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


@cache
def learned_tokens() -> str:
    """A file of tokens for three channels, weighted and not, until the tests end."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    generator = torch.Generator().manual_seed(0)
    weights = {
        f'masks.{name}.0.{parameter}': torch.randn(shape, generator=generator)
        for name, parameter, *shape in (
            ('plain', 'tokens', 4, 3),
            ('weighted', 'tokens', 4, 3),
            ('weighted', 'weighting.0.weight', 3, 3, 3, 3),
            ('weighted', 'weighting.0.bias', 3),
            ('weighted', 'weighting.2.weight', 4, 3, 1, 1),
            ('weighted', 'weighting.2.bias', 4),
        )
    }
    torch.save(weights, f'{folder}/tokens.pth')
    return f'{folder}/tokens.pth'


@dataclass(frozen=True)
class TokensCase(LossCase):
    """A loss that reads learned tokens."""

    def build(self, **options: Any) -> DistillationLoss:
        return super().build(tokens=learned_tokens(), **options)


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


def aimed(*shape: int) -> Callable[[int], Rows]:
    """Deltas, or maps, and what both should be."""
    return lambda rows: {
        **features(*shape)(rows),
        'target': torch.randn(rows, *shape, dtype=torch.float64),
    }


def boxes(rows: int) -> Rows:
    """Boxes of four to eight pixels a side, and others at most one pixel away."""
    corners = 4 + 4 * torch.rand(rows, 2, dtype=torch.float64)
    box = torch.cat([-corners, corners], dim=1) / 2
    offsets = 2 * torch.rand(2, rows, 4, dtype=torch.float64) - 1
    return {'student': box + offsets[0], 'teacher': box + offsets[1]}


ENTROPY = {
    'test_zero_where_student_equals_teacher': (
        'a cross-entropy: where the two agree it is an entropy'
    ),
}
OF_ALL_ROWS = {
    'test_ranks_average_to_the_whole': (
        'the intra-class term correlates the rows of a process: it cannot be split'
    ),
}
# Losses without a row: what they are depends on weights of their own.
LEARNED = {
    CIRKDLoss: 'a random projection, and a memory that moves: test_cirkd.py',
    CRDLoss: 'random projections, and a memory that moves: test_crd.py',
    HolisticLoss: 'a critic of random weights: test_holistic.py',
}

ANY_CHANNELS = {
    'test_shapes_that_differ_are_refused': (
        'channels may differ; what may not is tested in the file of the loss'
    ),
}
ANOTHER_MAXIMUM = {
    'test_behind_a_layer_under_autocast': (
        'in bfloat16 another channel may be the maximum: the gradient goes there'
    ),
}
OVER_THE_BATCH = {
    'test_repeating_the_batch_leaves_the_mean': (
        'statistics over the batch, whose deviation divides by n - 1, as in the paper'
    ),
    'test_ranks_average_to_the_whole': (
        'statistics over the batch of a process, as in the paper'
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
ORDER_OF_SAMPLES = {
    'test_repeating_the_batch_leaves_the_mean': (
        'the last sample then has a neighbour, the first again'
    ),
    'test_permuting_the_rows_permutes_none': 'neighbours are those in the batch',
}
NEAREST_SAMPLES = {
    'test_repeating_the_batch_leaves_the_mean': (
        'of a batch repeated the nearest are copies: it is a list of others'
    ),
}
TRAINED = {
    'test_leaves_nothing_in_the_checkpoint': 'its blocks are trained with the student',
}
# Four images of 16x32 with the same two boxes, for the tests of at most four rows that
# call the loss themselves.
BOXES = LossContext(
    level=0,
    step=StepData(
        samples=4
        * [
            SimpleNamespace(
                gt_instances=SimpleNamespace(
                    bboxes=torch.tensor([[0.0, 0.0, 8.0, 8.0], [9.0, 3.0, 30.0, 8.0]])
                )
            )
        ],
        inputs=torch.zeros(4, 3, 16, 32),
    ),
)

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
    LossCase(
        'ail',
        AILLoss,
        bounded_deltas,
        opt_outs={
            'test_leaves_nothing_in_the_checkpoint': (
                'it follows the range of errors, which a resumed run goes on with'
            ),
        },
    ),
    LossCase('ail-normalizer', AILLoss, bounded_deltas, {'normalizer': 8.0}),
    LossCase(
        'ail-batch',
        AILLoss,
        bounded_deltas,
        {'normalizer': 'batch', 'percentile': 75.0},
        opt_outs={
            'test_ranks_average_to_the_whole': (
                'the range is asked of the other ranks, of which there are none here'
            ),
        },
    ),
    LossCase(
        'ail-task',
        AILLoss,
        bounded_deltas,
        {'normalizer': 8.0, 'alpha': 0.25, 'with_task': True},
        opt_outs={
            'test_zero_where_student_equals_teacher': (
                "there the task's term is the teacher's error"
            ),
        },
    ),
    LossCase('ail-plain', AILLoss, features(4), {'mode': 'plain'}),
    LossCase('ail-bounded', AILLoss, bounded_deltas, {'mode': 'bounded'}),
    LossCase('ail-minimum', AILLoss, aimed(4), {'mode': 'minimum'}),
    LossCase(
        'ail-maps',
        AILLoss,
        aimed(1, 1, 1),
        {'normalizer': 8.0},
        mask_sides=(1, 1),
    ),
    LossCase('box_iou', BoxIoULoss, boxes),
    LossCase(
        'box_iou-iou',
        BoxIoULoss,
        boxes,
        {'kind': 'iou'},
        opt_outs={
            'test_behind_a_layer_under_autocast': (
                'a random layer makes boxes that do not overlap: there is no gradient'
            ),
        },
    ),
    LossCase('crosskd', CrossKDLoss, logits(4)),
    LossCase(
        'crosskd-one_column',
        CrossKDLoss,
        logits(1),
        {'beta': 2.0},
        LossContext(activation='sigmoid'),
    ),
    LossCase('crosskd-maps', CrossKDLoss, features(3, 1, 1), mask_sides=(1, 1)),
    LossCase('ld', LDLoss, features(4, 5)),
    LossCase(
        'ld-mean_over_bins',
        LDLoss,
        features(4, 5),
        {'temperature': 2.0, 'mean_over_bins': True},
    ),
    LossCase('hint-maps', HintLoss, features(3, 4, 5)),
    LossCase('hint-vectors', HintLoss, features(6)),
    LossCase('hint-l1', HintLoss, features(3, 2, 2), {'norm': 'l1'}),
    LossCase('kd', KDLoss, logits(4), {'temperature': 2.0}),
    LossCase('kd-one_column', KDLoss, logits(1)),
    LossCase(
        'kd-sigmoid', KDLoss, logits(3), {'temperature': 4.0, 'use_sigmoid': True}
    ),
    LossCase(
        'kd-standardized', KDLoss, logits(4), {'temperature': 2.0, 'standardize': True}
    ),
    LossCase('logit_l2', LogitL2Loss, logits(4)),
    LossCase(
        'logit_l2-centred',
        LogitL2Loss,
        logits(4),
        {'normalize': 'elementmean', 'centre': True},
    ),
    LossCase('bdkd', BDKDLoss, logits(4), {'temperature': 2.0}),
    LossCase('bdkd-maps', BDKDLoss, features(3, 1, 1), mask_sides=(1, 1)),
    LossCase(
        'bdkd-sigmoid',
        BDKDLoss,
        logits(3),
        {'sharpness': 2.0},
        LossContext(activation='sigmoid'),
        opt_outs={'test_gradcheck': 'the weights go by entropies, without gradient'},
    ),
    LossCase('dist', DISTLoss, logits(4), {'temperature': 2.0}, opt_outs=OF_ALL_ROWS),
    LossCase(
        'dist-maps',
        DISTLoss,
        features(3, 1, 1),
        opt_outs=OF_ALL_ROWS,
        mask_sides=(1, 1),
    ),
    LossCase('dist-one_column', DISTLoss, logits(1), opt_outs=OF_ALL_ROWS),
    LossCase(
        'dist-sigmoid',
        DISTLoss,
        logits(3),
        {'beta': 2.0, 'use_sigmoid': True},
        opt_outs=OF_ALL_ROWS,
    ),
    LossCase('dkd', DKDLoss, labelled(4, 4), {'temperature': 4.0, 'beta': 8.0}),
    LossCase('dkd-maps', DKDLoss, labelled(3, 3, 1, 1), mask_sides=(1, 1)),
    LossCase('dkd-one_column', DKDLoss, labelled(2, 1)),
    LossCase(
        'dkd-sigmoid',
        DKDLoss,
        labelled(4, 3),
        {'temperature': 2.0},
        LossContext(activation='sigmoid'),
    ),
    LossCase('dkd-sigmoid-unlabelled', DKDLoss, logits(3), {'use_sigmoid': True}),
    LossCase('nkd', NKDLoss, labelled(4, 4), {'temperature': 3.0}, opt_outs=ENTROPY),
    LossCase(
        'nkd-maps',
        NKDLoss,
        labelled(3, 3, 1, 1),
        opt_outs=ENTROPY,
        mask_sides=(1, 1),
    ),
    LossCase('nkd-one_column', NKDLoss, labelled(2, 1), opt_outs=ENTROPY),
    LossCase(
        'nkd-sigmoid',
        NKDLoss,
        labelled(4, 3),
        {'temperature': 2.0},
        LossContext(activation='sigmoid'),
        opt_outs=ENTROPY,
    ),
    LossCase(
        'ab',
        ABLoss,
        features(3, 2, 4),
        opt_outs={
            'test_zero_where_student_equals_teacher': (
                'what lies within the margin is pushed out of it'
            ),
        },
    ),
    LossCase('at', ATLoss, features(3, 2, 4), opt_outs=ANY_CHANNELS),
    LossCase(
        'at-code',
        ATLoss,
        features(3, 2, 4),
        {'mode': 'code', 'p': 4},
        opt_outs=ANY_CHANNELS,
    ),
    LossCase(
        'at-max',
        ATLoss,
        features(3, 2, 4),
        {'mode': 'squared', 'form': 'max', 'p': 1},
        opt_outs=ANY_CHANNELS | ANOTHER_MAXIMUM,
    ),
    LossCase('cwd', CWDLoss, features(3, 2, 4), {'temperature': 2.0}),
    LearnedCase(
        'fbkd',
        FBKDLoss,
        features(4, 2, 4),
        {'channels': 4, 'masked_weight': 1.0, 'attention_weight': 0.5},
        opt_outs=TRAINED
        | {
            'test_zero_where_student_equals_teacher': 'its adaptations are random',
            'test_gradcheck': 'attention is held fixed; gradcheck is in test_fbkd.py',
        },
    ),
    LearnedCase(
        'fgd',
        FGDLoss,
        features(4, 2, 4),
        {
            'channels': 4,
            'foreground_weight': 1.0,
            'background_weight': 0.5,
            'attention_weight': 0.5,
            'context_weight': 0.1,
        },
        BOXES,
        opt_outs=TRAINED,
    ),
    LossCase('fsp', FSPLoss, features(3, 4)),
    LossCase('gradient_at', GradientATLoss, features(3, 2, 4)),
    TokensCase('maskd', MasKDLoss, features(3, 2, 4), {'learned_as': 'weighted'}),
    TokensCase(
        'maskd-customized',
        MasKDLoss,
        features(3, 2, 4),
        {'learned_as': 'plain', 'customize_after': 0},
        opt_outs={'test_gradcheck': "the student's own masks take no gradient"},
    ),
    TokensCase(
        'maskd-maps',
        MasKDLoss,
        features(3, 1, 1),
        {'learned_as': 'weighted'},
        mask_sides=(1, 1),
    ),
    LearnedCase(
        'mgd',
        MGDLoss,
        features(4, 2, 4),
        {'channels': 4, 'masked_ratio': 0.0},
        opt_outs=TRAINED
        | {'test_zero_where_student_equals_teacher': 'its generator is random'},
    ),
    LossCase('nst', NSTLoss, features(3, 2, 4), opt_outs=ANY_CHANNELS),
    LossCase(
        'nst-offset',
        NSTLoss,
        features(3, 2, 4),
        {'degree': 3, 'offset': 0.5},
        opt_outs=ANY_CHANNELS,
    ),
    LossCase(
        'nst-linear',
        NSTLoss,
        features(3, 2, 4),
        {'kernel': 'linear'},
        opt_outs=ANY_CHANNELS,
    ),
    LossCase(
        'nst-gaussian',
        NSTLoss,
        features(3, 2, 4),
        {'kernel': 'gaussian', 'sigma_squared': 0.5},
        opt_outs=ANY_CHANNELS,
    ),
    LossCase(
        'nst-gaussian-own_sigma',
        NSTLoss,
        features(3, 2, 4),
        {'kernel': 'gaussian'},
        opt_outs=ANY_CHANNELS
        | {'test_gradcheck': 'sigma follows the student, and takes no gradient'},
    ),
    LossCase(
        'ofd',
        OFDLoss,
        features(3, 2, 4),
        context=LossContext(teacher_norm=nn.BatchNorm2d(3)),
    ),
    LossCase('ofd-vectors', OFDLoss, features(6), {'margin': -0.5}),
    LossCase('pkd', PKDLoss, features(3, 2, 4), opt_outs=OVER_THE_BATCH),
    LossCase('pkd-vectors', PKDLoss, features(6), opt_outs=OVER_THE_BATCH),
    LossCase('pair_wise', PairWiseLoss, features(3, 4, 5), opt_outs=ANY_CHANNELS),
    LossCase(
        'pair_wise-every_option',
        PairWiseLoss,
        features(3, 4, 5),
        {'max_nodes': 12, 'pool': 'max', 'connection_range': 4, 'max_entries': 20},
        opt_outs=ANY_CHANNELS
        | {
            'test_behind_a_layer_under_autocast': (
                'in bfloat16 another pixel may be the maximum: the gradient goes there'
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
    LossCase('sp', SPLoss, features(6), opt_outs=RELATIONS | DIVIDED_BY_SAMPLES),
    LossCase(
        'sp-maps',
        SPLoss,
        features(3, 4, 5),
        opt_outs=RELATIONS | DIVIDED_BY_SAMPLES,
    ),
    LossCase(
        'sp-pixels',
        SPLoss,
        features(6, 1, 1),
        {'sample': 'pixel'},
        opt_outs=RELATIONS | DIVIDED_BY_SAMPLES,
        mask_sides=(1, 1),
    ),
    LossCase('cc', CCLoss, features(6), opt_outs=RELATIONS),
    LossCase(
        'cc-bilinear',
        CCLoss,
        features(6),
        {'kernel': 'bilinear'},
        opt_outs=RELATIONS
        | {
            'test_finite_for_huge_values': (
                'its gradient is of the third power of the embeddings: float16 ends'
            ),
        },
    ),
    LossCase(
        'cc-norm',
        CCLoss,
        features(6),
        {'variant': 'norm'},
        opt_outs=RELATIONS | DIVIDED_BY_SAMPLES,
    ),
    LossCase(
        'cc-neighbor',
        CCLoss,
        features(6),
        {'variant': 'neighbor'},
        opt_outs=RELATIONS | ORDER_OF_SAMPLES,
    ),
    LossCase('rkd', RKDLoss, features(6), opt_outs=RELATIONS),
    LossCase('rkd-maps', RKDLoss, features(3, 4, 5), opt_outs=RELATIONS),
    LossCase(
        'rkd-l2', RKDLoss, features(6), {'with_l2_norm': True}, opt_outs=RELATIONS
    ),
    LossCase(
        'darkrank', DarkRankLoss, features(6), opt_outs=RELATIONS | NEAREST_SAMPLES
    ),
    LossCase(
        'darkrank-squared',
        DarkRankLoss,
        features(6),
        {'squared': True, 'scale': 3.5, 'power': 2.0},
        opt_outs=RELATIONS | NEAREST_SAMPLES,
    ),
    LossCase(
        'darkrank-hard',
        DarkRankLoss,
        features(6),
        {'mode': 'hard'},
        opt_outs=RELATIONS
        | NEAREST_SAMPLES
        | {
            'test_zero_where_student_equals_teacher': (
                'the likelihood of one order, which is never sure'
            ),
        },
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
