"""One-stage heads: both models at the same points or anchors, level by level."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError, DistillationError
from ...losses import LossContext
from ...registry import VIEWS
from ...teachers.class_map import ClassMap
from ..base import MatchedTensors, Place, Recorder, View
from ..heads import head_outputs
from ..transformer.queries import refuse_queries
from .assignment import TargetsRecorder, assigned_columns, assignment_of, targets_of
from .deltas import deltas_place, match_deltas
from .distributions import REGIONS, distribution_place, match_distributions
from .logits import (
    check_classes,
    check_sigmoid,
    class_logits,
    inside_image,
    match_logits,
)
from .priors import check_priors

BBOX_HEAD = 'bbox_head'


@dataclass(frozen=True)
class DenseHeadRecorder(Recorder):
    """What a one-stage head gives, while the model computes its losses."""

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[list[Any]]:
        outputs: list[Any] = []

        def answered(module: nn.Module, args: Any, output: Any) -> None:
            outputs.append(output)

        handle = dense_head(model, 'pairs').register_forward_hook(answered)
        try:
            yield outputs
        finally:
            handle.remove()


def dense_head(model: Any, where: str) -> Any:
    """The head of a one-stage detector.

    Raises: ConfigError if there is none, or one of another kind.
    """
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    refuse_queries(model, where)
    head = getattr(model, BBOX_HEAD, None)
    if not isinstance(head, BaseDenseHead) or not hasattr(head, 'prior_generator'):
        found = 'no bbox_head' if head is None else f'a {type(head).__name__}'
        raise ConfigError(
            f'{where}: {type(model).__name__} has {found}; views of one-stage heads '
            'need one with points or anchors on a grid, such as FCOSHead, RetinaHead '
            "or GFLHead. Use a 'layer' pair."
        )
    return head


def check_same_points(student: Any, teacher: Any, probe: Any, where: str) -> None:
    """Refuse two heads that do not judge the same points or anchors.

    Args:
        student: the student's head.
        teacher: the teacher's.
        probe: a :class:`~kd_plugins.views.probe.Probe` of the two models.
        where: configuration key of the pair, for messages.

    Raises: ConfigError naming the key to change.
    """
    if probe.scale != 1:
        raise ConfigError(
            f"{where}: teacher '{probe.teacher_name}' sees its input scaled by "
            f'{probe.scale}, so that its points are not those of the student. '
            'Remove input_scale, or distil layers only.'
        )
    check_priors(student, teacher, 'strides and anchors of bbox_head', where)


@VIEWS.register_module()
class DenseHeadView(View):
    """Class logits, boxes or box distributions, at the same points or anchors.

    Of logits, each level of the FPN is by itself. Masked are points outside the image,
    on its padding, and those that the student's own loss leaves out: anchors of weight
    0, which are neither object nor background. With a teacher's ``class_map`` K counts
    the shared classes, and points that are assigned another one are masked. Boxes and
    distributions are rows of all levels and images.

    Args:
        value: 'logits', (N A, K, H, W) a level, sigmoid: of A anchors at a point; their
            targets are labels (N A, H, W), K for the background. 'deltas', (M, 4), of
            the student's positives: of anchors in its box coding; of the points of
            FCOS, GFL and RTMDet distances left, top, right, bottom in strides of the
            level, of GFL those that its distributions expect. Or 'distributions',
            (M, 4, n + 1), logits of the bins of each edge, of GFL and LD heads. Their
            mask holds what a row weighs, between 0 and 1, and their count is its sum.
        region: of distributions, the rows that are kept. 'main', the default: the
            student's positives, each weighed by its highest class score, as the host
            weighs their own loss. 'vlr': the valuable localization region, by overlap;
            see :func:`~kd_plugins.views.dense.localization_region.valuable_region`.

    Targets are what the student's own loss computed, nothing is assigned anew. Of a
    head whose loss is not that of RetinaHead, ATSSHead, GFLHead, FCOSHead or RTMDetHead
    nobody knows how it uses them: its logits come without labels.

    Source: of the regions, Zheng et al., Localization Distillation for Object
        Detection, CVPR 2022, https://arxiv.org/abs/2102.12252.
    """

    prefix = 'head'
    values = ('logits', 'deltas', 'distributions')

    def __init__(self, value: str, region: str | None = None) -> None:
        if value != 'distributions' and region is not None:
            every = 'has all points' if value == 'logits' else 'has the positives'
            raise ConfigError(
                f"region='{region}' chooses among distributions; head.{value} {every}. "
                "Remove it, or use value='distributions'."
            )
        if region is not None and region not in REGIONS:
            raise ConfigError(f"region must be 'main' or 'vlr', got '{region}'.")
        self.value = value
        self.region = region or 'main'
        self._labelled = False
        self._contexts: list[LossContext] = []
        self._classes: ClassMap | None = None

    def bind(self, probe: Any, where: str) -> list[Place]:
        student = dense_head(probe.student, f'{where} (student)')
        teacher = dense_head(probe.teacher, f'{where} (teacher)')
        check_same_points(student, teacher, probe, where)
        if self.value == 'distributions':
            return [distribution_place(student, teacher, where)]
        if self.value == 'deltas':
            return [deltas_place(student, teacher, where)]
        return self._bind_logits(student, teacher, probe, where)

    def _bind_logits(
        self, student: Any, teacher: Any, probe: Any, where: str
    ) -> list[Place]:
        self._labelled = assigned_columns(student) is not None
        shapes: dict[str, list[Any]] = {}
        for which, head in (('student', student), ('teacher', teacher)):
            check_sigmoid(head, 'head.logits', f'{where} ({which})')
            with probe.run(self, which, where) as run:
                (output,) = head_outputs(run, BBOX_HEAD)
                shapes[which] = [
                    tuple(item.shape) for item in class_logits(head, output, where)
                ]
        self._classes = probe.class_map
        check_classes(student, teacher, self._classes, where)
        if self._classes is not None:
            number = len(self._classes.shared)
            shapes = {
                which: [(item[0], number, *item[2:]) for item in found]
                for which, found in shapes.items()
            }
        self._contexts = [
            LossContext(activation='sigmoid', level=level, stride=int(stride[0]))
            for level, stride in enumerate(student.prior_generator.strides)
        ]
        return [
            Place(
                f'head.logits[{context.level}]',
                own,
                other,
                context=context,
                target=(own[0], *own[2:]) if self._labelled else None,
            )
            for context, own, other in zip(
                self._contexts, shapes['student'], shapes['teacher'], strict=True
            )
        ]

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', BBOX_HEAD)

    @property
    def has_target(self) -> bool:
        return self._labelled or self.value == 'deltas'

    @property
    def requires_same_classes(self) -> bool:
        return self.value == 'logits'  # boxes are those of any class

    def student_recorders(self) -> Sequence[Recorder]:
        if self.value == 'logits' and not self._labelled:
            return (DenseHeadRecorder(),)
        return (DenseHeadRecorder(), TargetsRecorder())

    def maps(self, run: Any, which: str) -> list[Tensor]:
        if self.value != 'logits':
            return []
        (answer,) = head_outputs(run, BBOX_HEAD)
        found = class_logits(dense_head(run.model, 'pairs'), answer, 'pairs')
        if self._classes:
            found = [self._classes.of(which, item) for item in found]
        return [run.crop(item) for item in found]

    def match(self, step: Any) -> list[MatchedTensors | None]:
        outputs: list[Any] = step.captured[DenseHeadRecorder()]
        name = f'head.{self.value}'
        if not outputs:
            raise DistillationError(
                "the student's bbox_head did not run while it computed its losses, so "
                f"'{name}' has nothing to match."
            )
        own, head = outputs[-1], dense_head(step.student, 'pairs')
        run = step.teacher
        teacher_head = dense_head(run.model, 'pairs')
        (answer,) = head_outputs(run, BBOX_HEAD)
        if self.value == 'logits':
            return self._match_logits(step, own, answer)
        boxes = [run.crop(item) for item in answer[1]]
        if self.value == 'deltas':
            assignment = assignment_of(step, name)
            return [match_deltas(head, teacher_head, own[1], boxes, assignment)]
        targets = targets_of(step, name)
        samples = step.data_samples
        return [match_distributions(self.region, head, own, boxes, targets, samples)]

    def _match_logits(
        self, step: Any, own: Any, answer: Any
    ) -> list[MatchedTensors | None]:
        head, run = step.student.bbox_head, step.teacher
        assignment = assignment_of(step, 'head.logits') if self._labelled else None
        matched: list[MatchedTensors | None] = []
        for context, student, teacher in zip(
            self._contexts,
            class_logits(head, own, 'pairs'),
            class_logits(run.model.bbox_head, answer, 'pairs'),
            strict=True,
        ):
            assert context.level is not None
            inside = inside_image(step.data_samples, student, head, context.level)
            matched.append(
                match_logits(
                    student,
                    run.crop(teacher),
                    inside,
                    context,
                    assignment,
                    self._classes,
                )
            )
        return matched
