"""Second-stage heads: both models score the same RoIs, each on its own features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from torch import Tensor

from ...checks import check_choice
from ...errors import ConfigError, DistillationError, located
from ...host_types import HostModule, Samples
from ...losses import LossContext
from ...registry import VIEWS
from ...teachers.class_map import ClassMap
from ..base import SIDES, MatchedTensors, Side, TensorSpec, UnservedError
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, Classifier, FeatureSource, Match, View
from .match import match_deltas, match_features, match_logits, softmax_context
from .outputs import RoIOutputs, RoIRecorder, roi_stages
from .stages import (
    RoISource,
    Stage,
    StagePair,
    assigns_targets,
    box_head,
    box_heads,
    check_same_classes,
    pair_stages,
    scored_by_student,
    stage_name,
)

_TARGETS = ('labels', 'teacher_error')


@VIEWS.register_module(name='roi.logits')
class RoILogitsView(View):
    """Class logits (R, K + 1) of a RoI head, softmax with background last.

    With a teacher's ``class_map`` those of the shared classes and of the background,
    and RoIs of classes that are not shared are masked.

    Args:
        stage: of a cascade: a number for both models, or ``dict(student=, teacher=)``.
            Default: every stage of the student, each with the teacher's stage of the
            same number, or its last.
        roi_source: whose RoIs, see :class:`RoISource`.
        num_rois: proposals kept of the teacher an image, likewise.

    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, section 3.2 (the RCN terms).
    """

    def __init__(
        self, stage: Stage = None, roi_source: str = 'student', num_rois: int = 64
    ) -> None:
        self.stage = stage
        self.source = RoISource(roi_source, num_rois)

    def bind(self, probe: Probe) -> BoundView:
        heads = box_heads(probe)
        has_target = self.source.is_student
        if has_target:
            check_assigns(probe)
        stages = pair_stages(self.stage, *map(len, heads.values()))
        specs = []
        classes = None
        for stage in stages:
            both = (heads['student'][stage.student], heads['teacher'][stage.teacher])
            classes = check_same_classes(*both, probe)
            for side, head in zip(SIDES, both, strict=True):
                with located(f'({side})'):
                    _check_softmax(head)
            number = both[0].num_classes if classes is None else len(classes.shared)
            specs.append(
                TensorSpec(
                    stage_name('roi.logits', stage.student, len(stages)),
                    (-1, number + 1),
                    (-1, number + 1),
                    context=softmax_context(stage.student, number + 1),
                    target=(-1,) if has_target else None,
                    images=(-1,),
                )
            )
        matching = _Logits(self.source, stages, classes)
        bound = _bound(
            specs,
            matching.match,
            self.source,
            has_target=has_target,
            requires_same_classes=True,
        )
        if not self.source.is_student:
            return bound
        return replace(
            bound,
            match_alone=matching.match_alone,
            features=_features(probe, stages),
        )


@VIEWS.register_module(name='roi.deltas')
class RoIDeltasView(View):
    """Box deltas (R, 4) of each RoI's assigned class, in the student's box coding.

    On the RoIs that the student sampled for its own loss. With a teacher's
    ``class_map`` the teacher's are those of its class of the same name, and RoIs of
    classes that are not shared are masked.

    Args:
        stage: of a cascade, as of :class:`RoILogitsView`.
        roi_source: 'student' alone: only its RoIs have labels.

    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, section 3.2 (the RCN terms).
    """

    def __init__(self, stage: Stage = None, roi_source: str = 'student') -> None:
        check_has_labels('roi.deltas', roi_source)
        self.stage = stage

    def bind(self, probe: Probe) -> BoundView:
        heads = box_heads(probe)
        check_assigns(probe)
        stages = pair_stages(self.stage, *map(len, heads.values()))
        specs = []
        classes = None
        for stage in stages:
            both = (heads['student'][stage.student], heads['teacher'][stage.teacher])
            classes = check_same_classes(*both, probe)
            for side, head in zip(SIDES, both, strict=True):
                with located(f'({side})'):
                    _check_deltas(head)
            specs.append(
                TensorSpec(
                    stage_name('roi.deltas', stage.student, len(stages)),
                    (-1, 4),
                    (-1, 4),
                    context=LossContext(stage=stage.student),
                    target=(-1, 4),
                )
            )
        return _bound(
            specs,
            _Deltas(RoISource(), stages, classes).match,
            RoISource(),
            has_target=True,
            requires_same_classes=True,
        )


@VIEWS.register_module(name='roi.features')
class RoIFeaturesView(View):
    """What the classifier of a RoI head reads, (R, D); D may differ.

    Args:
        stage: as of :class:`RoILogitsView`.
        roi_source: likewise.
        num_rois: likewise.
        target: 'labels', those of the student's RoIs; or 'teacher_error', the squared
            error (R, 1) of the box that the teacher regresses of each, as of
            :class:`RoIDeltasView`: RoIs without a box are masked.

    Raises: ConfigError for another target, and for errors of RoIs without labels.
    """

    def __init__(
        self,
        stage: Stage = None,
        roi_source: str = 'student',
        num_rois: int = 64,
        target: str = 'labels',
    ) -> None:
        self.stage = stage
        self.source = RoISource(roi_source, num_rois)
        self.of_errors = check_choice('target', target, _TARGETS) == 'teacher_error'
        if self.of_errors:
            check_has_labels('roi.features', roi_source)

    def bind(self, probe: Probe) -> BoundView:
        heads = box_heads(probe)
        stages = pair_stages(self.stage, *map(len, heads.values()))
        if self.of_errors:
            return self._bind_errors(probe, heads, stages)
        has_target = self.source.is_student and assigns_targets(probe.student)
        specs = [
            TensorSpec(
                stage_name('roi.features', stage.student, len(stages)),
                (-1, heads['student'][stage.student].fc_cls.in_features),
                (-1, heads['teacher'][stage.teacher].fc_cls.in_features),
                context=LossContext(stage=stage.student),
                target=(-1,) if has_target else None,
            )
            for stage in stages
        ]
        match = _Features(self.source, stages, None).match
        bound = _bound(specs, match, self.source, has_target=has_target)
        classifier = _classifier(probe, heads, stages) if has_target else None
        return replace(bound, classifier=classifier)

    def _bind_errors(
        self,
        probe: Probe,
        heads: dict[Side, list[HostModule]],
        stages: tuple[StagePair, ...],
    ) -> BoundView:
        check_assigns(probe)
        specs = []
        classes = None
        for stage in stages:
            both = (heads['student'][stage.student], heads['teacher'][stage.teacher])
            classes = check_same_classes(*both, probe)
            for side, head in zip(SIDES, both, strict=True):
                with located(f'({side})'):
                    _check_deltas(head)
            widths = [head.fc_cls.in_features for head in both]
            specs.append(
                TensorSpec(
                    stage_name('roi.features', stage.student, len(stages)),
                    (-1, widths[0]),
                    (-1, widths[1]),
                    context=LossContext(stage=stage.student),
                    target=(-1, 1),
                )
            )
        return _bound(
            specs,
            _FeaturesAndErrors(self.source, stages, classes).match,
            self.source,
            has_target=True,
            requires_same_classes=True,
        )


def _classifier(
    probe: Probe,
    heads: dict[Side, list[HostModule]],
    stages: tuple[StagePair, ...],
) -> Classifier | None:
    """That of a teacher's only stage, where its classes are the student's."""
    if len(stages) > 1 or probe.class_map is not None:
        return None
    student, teacher = (
        heads[side][getattr(stages[0], side)].fc_cls.out_features for side in SIDES
    )
    if student != teacher:
        return None
    return Classifier(partial(_fc_cls, stages[0].teacher), 'softmax', teacher)


def _fc_cls(stage: int, run: FrozenRun) -> Callable[[Tensor], Tensor]:
    _, head = roi_stages(run.exact)[stage]
    classify: Callable[[Tensor], Tensor] = head.fc_cls
    return classify


@dataclass(frozen=True)
class _Stages:
    """Stages that are matched one after the other."""

    source: RoISource
    stages: tuple[StagePair, ...]
    classes: ClassMap | None

    def each(
        self,
        student: ModelRun,
        teacher: FrozenRun,
        samples: Samples,
        view: str,
        match: Callable[[StagePair, RoIOutputs, RoIOutputs], MatchedTensors],
    ) -> list[MatchedTensors | None]:
        matched: list[MatchedTensors | None] = []
        for stage in self.stages:
            scored = self.source.scored(student, teacher, samples, stage, view)
            matched.append(None if scored is None else match(stage, *scored))
        return matched


class _Logits(_Stages):
    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        def logits(
            stage: StagePair, of_student: RoIOutputs, of_teacher: RoIOutputs
        ) -> MatchedTensors:
            if self.source.is_student:
                check_assigned(of_student, 'roi.logits')
            return match_logits(of_student, of_teacher, stage.student, self.classes)

        return self.each(student, teacher, samples, 'roi.logits', logits)

    def match_alone(
        self, student: ModelRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        """Of the student alone: the other half are its logits, without their graph."""
        matched: list[MatchedTensors | None] = []
        for stage in self.stages:
            outputs = scored_by_student(student, stage.student, 'roi.logits')
            if outputs is None:
                matched.append(None)
                continue
            check_assigned(outputs, 'roi.logits')
            assert outputs.logits is not None
            same = replace(outputs, logits=outputs.logits.detach())
            matched.append(match_logits(outputs, same, stage.student))
        return matched


def _features(probe: Probe, stages: Sequence[StagePair]) -> Mapping[str, FeatureSource]:
    """What the student's classifiers read of a RoI, and what their heads do."""
    parts = roi_stages(probe.student)
    numbers = [stage.student for stage in stages]

    def outputs(student: ModelRun) -> list[RoIOutputs | None]:
        recorded = student.records[RoIRecorder()]
        return [recorded.get(number) for number in numbers]

    return {
        'features': FeatureSource(
            tuple((-1, parts[number][1].fc_cls.in_features) for number in numbers),
            lambda student, _: [
                None if each is None else each.features for each in outputs(student)
            ],
        ),
        'early_features': FeatureSource(
            tuple((-1, cast(int, parts[number][0].out_channels)) for number in numbers),
            lambda student, _: [
                None if each is None or each.pooled is None else _mean(each.pooled)
                for each in outputs(student)
            ],
        ),
    }


def _mean(pooled: Tensor) -> Tensor:
    """Of maps (R, C, h, w) over their places; rows stay rows."""
    return pooled.flatten(2).mean(dim=2) if pooled.dim() > 2 else pooled


class _Deltas(_Stages):
    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        def deltas(
            stage: StagePair, of_student: RoIOutputs, of_teacher: RoIOutputs
        ) -> MatchedTensors:
            check_assigned(of_student, 'roi.deltas')
            return match_deltas(
                of_student,
                of_teacher,
                LossContext(stage=stage.student),
                box_head(student.model, stage.student),
                box_head(teacher.model, stage.teacher),
                self.classes,
            )

        return self.each(student, teacher, samples, 'roi.deltas', deltas)


class _Features(_Stages):
    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        def features(
            stage: StagePair, of_student: RoIOutputs, of_teacher: RoIOutputs
        ) -> MatchedTensors:
            context = LossContext(stage=stage.student)
            return match_features(of_student, of_teacher, context)

        return self.each(student, teacher, samples, 'roi.features', features)


class _FeaturesAndErrors(_Stages):
    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        def features(
            stage: StagePair, of_student: RoIOutputs, of_teacher: RoIOutputs
        ) -> MatchedTensors:
            check_assigned(of_student, 'roi.features')
            context = LossContext(stage=stage.student)
            deltas = match_deltas(
                of_student,
                of_teacher,
                context,
                box_head(student.model, stage.student),
                box_head(teacher.model, stage.teacher),
                self.classes,
            )
            assert deltas.target is not None and deltas.mask is not None
            error = (deltas.teacher - deltas.target).square().sum(dim=1)
            matched = match_features(of_student, of_teacher, context)
            return replace(
                matched,
                target=error[:, None],
                mask=deltas.mask,
                count=deltas.mask.sum(),
            )

        return self.each(student, teacher, samples, 'roi.features', features)


def check_has_labels(view: str, roi_source: str) -> None:
    """Refuse RoIs without labels for a view of what is a class's.

    Raises: ConfigError for any source but the student.
    """
    RoISource(roi_source)
    if roi_source != 'student':
        raise ConfigError(
            f"'{view}' needs the labels assigned to the student's RoIs, and "
            f"roi_source='{roi_source}' has none. Use roi_source='student'."
        )


def check_assigned(outputs: RoIOutputs, view: str) -> None:
    """Refuse a student's RoI head that assigned its targets in another way.

    Raises: DistillationError if there are none.
    """
    if not outputs.targets:
        raise DistillationError(
            "the student's RoI head did not compute targets by 'loss_and_target', so "
            f"'{view}' has nothing to match. Use a StandardRoIHead or CascadeRoIHead."
        )


def _bound(
    specs: list[TensorSpec],
    match: Match,
    source: RoISource,
    has_target: bool,
    requires_same_classes: bool = False,
) -> BoundView:
    return BoundView(
        tuple(specs),
        match,
        (RoIRecorder(),),
        teacher_parts=source.teacher_parts,
        has_target=has_target,
        requires_same_classes=requires_same_classes,
    )


def check_assigns(probe: Probe) -> None:
    """Refuse a student whose RoI head computes its losses past what is recorded.

    Raises: UnservedError naming the head.
    """
    if not assigns_targets(probe.student):
        raise UnservedError(
            f'{type(probe.student.roi_head).__name__} assigns and weighs its targets '
            "in a way of its own, past 'loss_and_target' of its box head, so that the "
            'labels of its RoIs are not known. Without labels can be compared: view='
            "dict(type='roi.logits', roi_source='teacher').",
            key='(student)',
        )


def _check_deltas(head: HostModule) -> None:
    if not hasattr(head, 'fc_reg'):
        raise UnservedError(
            f'{type(head).__name__} predicts no box deltas (with_reg=False).'
        )


def _check_softmax(head: HostModule) -> None:
    name = type(head.loss_cls).__name__
    if getattr(head, 'custom_cls_channels', False):
        raise UnservedError(
            f'{name} of {type(head).__name__} has class channels of its own '
            '(custom_cls_channels): its logits are no softmax over classes and '
            "background. Set loss_cls=dict(type='CrossEntropyLoss')."
        )
    # Of K + 1 columns that are trained by a sigmoid and predict by softmax, no loss
    # can tell what they mean.
    if getattr(head.loss_cls, 'use_sigmoid', False):
        raise UnservedError(
            f'{name} of {type(head).__name__} trains its classes by a sigmoid, and '
            'predicts by softmax: its logits cannot be compared. Set loss_cls='
            "dict(type='CrossEntropyLoss', use_sigmoid=False)."
        )
