"""Second-stage heads: both models score the same RoIs, each on its own features."""

from collections.abc import Hashable, Sequence
from typing import Any

import torch

from ...errors import ConfigError, DistillationError, nearest
from ...losses import LossContext
from ...registry import VIEWS
from ...teachers.class_map import ClassMap
from ..base import MatchedTensors, Place, Recorder, View
from ..run import norms_frozen
from .masks import MaskRecorder, mask_places, mask_stages, match_masks
from .match import match_deltas, match_features, match_logits, softmax_context
from .outputs import (
    RoIOutputs,
    RoIRecorder,
    roi_stages,
    score_rois,
    teacher_proposals,
    teacher_scores,
)

ROI_SOURCES = ('student', 'teacher', 'union')


@VIEWS.register_module()
class RoIView(View):
    """Class logits, box deltas, features or masks of a RoI head, on the same RoIs.

    Args:
        value: 'logits' (R, K + 1); 'deltas' (R, 4), of each RoI's assigned class and in
            the student's box coding; 'features' (R, D), what the classifier reads; or
            'masks' (R, 1, H, W) of the RoIs that hold an object, mask logits of its
            class, sigmoid: each cell is a row. A teacher's of another size are resized.
        stage: of a cascade: a number for both models, or ``dict(student=, teacher=)``.
            Default: every stage of the student, each with the teacher's stage of the
            same number, or its last.
        roi_source: whose RoIs. 'student': those it sampled for its own loss.
            'teacher' or 'union' (of both): the teacher proposes too, and the student's
            head runs once more, its batch norm frozen; there are no targets then.
        num_rois: proposals kept of the teacher an image, for 'teacher' and 'union'.

    With a teacher's ``class_map``, logits are those of the shared classes and of the
    background, deltas and masks of a class those of the teacher's class of the same
    name, and RoIs of classes that are not shared are masked.

    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, section 3.2 (the RCN terms).
    """

    prefix = 'roi'
    values = ('logits', 'deltas', 'features', 'masks')

    def __init__(
        self,
        value: str,
        stage: int | dict[str, int] | None = None,
        roi_source: str = 'student',
        num_rois: int = 64,
    ) -> None:
        if roi_source not in ROI_SOURCES:
            raise ConfigError(
                "roi_source must be 'student', 'teacher' or 'union', got "
                f"'{roi_source}'."
            )
        if value in ('deltas', 'masks') and roi_source != 'student':
            raise ConfigError(
                f"value='{value}' needs the labels assigned to the student's RoIs, and "
                f"roi_source='{roi_source}' has none. Use roi_source='student'."
            )
        self.value = value
        self.stage = stage
        self.roi_source = roi_source
        self.num_rois = num_rois
        self._stages: list[tuple[int, int]] = []
        self._classes: ClassMap | None = None

    @property
    def requires_same_classes(self) -> bool:
        """True of logits, and of deltas and masks, which are those of a class."""
        return self.value != 'features'

    def bind(self, probe: Any, where: str) -> list[Place]:
        student = self._heads(probe.student, f'{where} (student)')
        teacher = self._heads(probe.teacher, f'{where} (teacher)')
        self._stages = self._pair_stages(len(student), len(teacher), where)
        self._classes = probe.class_map if self.requires_same_classes else None
        places = []
        for number, other in self._stages:
            head, teacher_head = student[number], teacher[other]
            numbers = (head.num_classes, teacher_head.num_classes)
            if self._classes is not None:
                self._classes.check_numbers(*numbers, where)
            elif self.requires_same_classes and numbers[0] != numbers[1]:
                raise ConfigError(
                    f'{where}: student has {numbers[0]} classes, teacher '
                    f"'{probe.teacher_name}' {numbers[1]}. Set model.teacher to one "
                    'of the same classes in the same order, name those of both in its '
                    'class_map, or distil features (a layer, or roi.features) only.'
                )
            if self.value == 'logits':
                for which, each in (('student', head), ('teacher', teacher_head)):
                    _check_softmax(each, f'{where} ({which})')
            if self.value != 'masks':
                places.append(self._place(number, head, teacher_head))
        if self.value == 'masks':
            return mask_places(probe, self, self._stages, where)
        return places

    def _heads(self, model: Any, where: str) -> list[Any]:
        if self.value == 'masks':
            return mask_stages(model, where)
        return [head for _, head in roi_stages(model, where)]

    def _pair_stages(
        self, student: int, teacher: int, where: str
    ) -> list[tuple[int, int]]:
        if self.stage is None:
            return [(n, n if n < teacher else teacher - 1) for n in range(student)]
        if isinstance(self.stage, dict):
            unknown = [key for key in self.stage if key not in ('student', 'teacher')]
            if unknown:
                raise ConfigError(
                    f"{where}.view.stage: no key '{unknown[0]}'. "
                    f'{nearest(str(unknown[0]), ("student", "teacher"))}'
                )
            pair = (self.stage.get('student', 0), self.stage.get('teacher', 0))
        else:  # one number for both; a head that is no cascade has just its one
            pair = (
                self.stage if student > 1 or teacher == 1 else 0,
                self.stage if teacher > 1 or student == 1 else 0,
            )
        if not (0 <= pair[0] < student and 0 <= pair[1] < teacher):
            raise ConfigError(
                f'{where}.view.stage: got student {pair[0]} and teacher {pair[1]}; '
                f'student stages: {student}, teacher stages: {teacher}, counted from 0.'
            )
        return [pair]

    def _place(self, stage: int, head: Any, teacher_head: Any) -> Place:
        name = f'roi.{self.value}' + (
            f' stage {stage}' if len(self._stages) > 1 else ''
        )
        context = LossContext(stage=stage)
        if self.value == 'features':
            return Place(
                name,
                (-1, head.fc_cls.in_features),
                (-1, teacher_head.fc_cls.in_features),
                context=context,
                target=(-1,) if self.has_target else None,
            )
        columns = 4
        if self.value == 'logits':
            classes = self._classes
            columns = 1 + (len(classes.shared) if classes else head.num_classes)
            context = softmax_context(stage, columns)
        target = (-1,) if self.value == 'logits' else (-1, 4)
        return Place(
            name,
            (-1, columns),
            (-1, columns),
            context=context,
            target=target if self.has_target else None,
        )

    def teacher_parts(self) -> tuple[str, ...]:
        if self.roi_source == 'student':
            return ('neck', 'roi_head')
        return ('neck', 'rpn_head', 'roi_head')

    @property
    def has_target(self) -> bool:
        return self.roi_source == 'student' and self.value != 'masks'

    def student_recorders(self) -> Sequence[Recorder]:
        return (MaskRecorder() if self.value == 'masks' else RoIRecorder(),)

    def match(self, step: Any) -> list[MatchedTensors | None]:
        if self.value == 'masks':
            return match_masks(step, self._stages, self._classes)
        captured: dict[int, RoIOutputs] = step.captured[RoIRecorder()]
        if not captured:
            raise DistillationError(
                "the student's RoI head did not run while it computed its losses, so "
                f"'roi.{self.value}' has nothing to match."
            )
        matched: list[MatchedTensors | None] = []
        # Features can do without labels.
        needs_target = self.has_target and self.value != 'features'
        for number, other in self._stages:
            # A cascade stops early when a stage leaves no proposal.
            if number not in captured:
                matched.append(None)
                continue
            outputs = captured[number]
            source: Hashable = ('student', number)
            if needs_target and not outputs.targets:
                raise DistillationError(
                    "the student's RoI head did not compute targets by "
                    f"'loss_and_target', so 'roi.{self.value}' has nothing to match. "
                    'Distil roi.features, or use StandardRoIHead or CascadeRoIHead.'
                )
            if self.roi_source != 'student':
                source = (self.roi_source, number, self.num_rois)
                outputs = self._rescore(step, number, outputs, source)
            answer = teacher_scores(step.teacher, other, outputs.rois, source)
            context = LossContext(stage=number)
            if self.value == 'logits':
                matched.append(match_logits(outputs, answer, number, self._classes))
            elif self.value == 'features':
                matched.append(match_features(outputs, answer, context))
            else:
                heads = (
                    roi_stages(step.student, 'pairs')[number][1],
                    roi_stages(step.teacher.model, 'pairs')[other][1],
                )
                matched.append(
                    match_deltas(outputs, answer, context, *heads, self._classes)
                )
        return matched

    def _rescore(
        self, step: Any, stage: int, sampled: RoIOutputs, source: Hashable
    ) -> RoIOutputs:
        proposals = step.teacher.once(
            ('proposals', self.num_rois),
            lambda: teacher_proposals(step.teacher, step.data_samples, self.num_rois),
        )
        rois = (
            torch.cat([sampled.rois.detach(), proposals])
            if self.roi_source == 'union'
            else proposals
        )

        def score() -> RoIOutputs:
            with norms_frozen(step.student.roi_head):
                return score_rois(step.student, stage, sampled.maps, rois)

        scored: RoIOutputs = step.once(source, score)
        return scored


def _check_softmax(head: Any, where: str) -> None:
    # Of K + 1 columns that are trained by a sigmoid and predict by softmax, no loss
    # can tell what they mean.
    if getattr(head.loss_cls, 'use_sigmoid', False):
        raise ConfigError(
            f'{where}: {type(head.loss_cls).__name__} of {type(head).__name__} trains '
            'its classes by a sigmoid, and predicts by softmax: its logits cannot be '
            "compared. Use loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False), "
            'or distil roi.deltas or features.'
        )
