"""Second-stage heads: both models score the same RoIs, each on its own features."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DistillationError, nearest
from ..losses import LossContext
from ..registry import VIEWS
from .base import Capture, Matched, Place, View
from .coders import same_coder, translate
from .roi_capture import (
    RoICapture,
    RoIOutputs,
    roi_stages,
    score_rois,
    teacher_proposals,
    teacher_scores,
)
from .run import norms_frozen

ROI_SOURCES = ('student', 'teacher', 'union')


@VIEWS.register_module()
class RoIView(View):
    """Class logits, box deltas or features of a RoI head, on the same RoIs.

    Args:
        value: 'logits' (R, K + 1); 'deltas' (R, 4), of each RoI's assigned class and in
            the student's box coding; or 'features' (R, D), what the classifier reads.
        stage: of a cascade: a number for both models, or ``dict(student=, teacher=)``.
            Default: every stage of the student, each with the teacher's stage of the
            same number, or its last.
        roi_source: whose RoIs. 'student': those it sampled for its own loss.
            'teacher' or 'union' (of both): the teacher proposes too, and the student's
            head runs once more, its batch norm frozen; there are no targets then.
        num_rois: proposals kept of the teacher an image, for 'teacher' and 'union'.

    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, section 3.2 (the RCN terms).
    """

    prefix = 'roi'
    values = ('logits', 'deltas', 'features')

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
        if value == 'deltas' and roi_source != 'student':
            raise ConfigError(
                f"value='deltas' needs the labels assigned to the student's RoIs, and "
                f"roi_source='{roi_source}' has none. Use roi_source='student'."
            )
        self.value = value
        self.stage = stage
        self.roi_source = roi_source
        self.num_rois = num_rois
        self._stages: list[tuple[int, int]] = []

    @property
    def same_classes(self) -> bool:
        """True of logits, and of deltas, which are those of a class."""
        return self.value != 'features'

    def bind(self, probe: Any, where: str) -> list[Place]:
        student = roi_stages(probe.student, f'{where} (student)')
        teacher = roi_stages(probe.teacher, f'{where} (teacher)')
        self._stages = self._pair_stages(len(student), len(teacher), where)
        places = []
        for number, other in self._stages:
            head, teacher_head = student[number][1], teacher[other][1]
            if (
                self.value != 'features'
                and head.num_classes != teacher_head.num_classes
            ):
                raise ConfigError(
                    f'{where}: student has {head.num_classes} classes, teacher '
                    f"'{probe.teacher_name}' {teacher_head.num_classes}. Set "
                    'model.teacher to one of the same classes in the same order, or '
                    'distil features (a layer, or roi.features) only.'
                )
            places.append(self._place(number, head, teacher_head))
        return places

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
        if self.value == 'features':
            return Place(
                name,
                (-1, head.fc_cls.in_features),
                (-1, teacher_head.fc_cls.in_features),
            )
        columns = 4 if self.value == 'deltas' else head.num_classes + 1
        return Place(name, (-1, columns), (-1, columns))

    def teacher_parts(self) -> tuple[str, ...]:
        if self.roi_source == 'student':
            return ('neck', 'roi_head')
        return ('neck', 'rpn_head', 'roi_head')

    @property
    def gives_target(self) -> bool:
        return self.value != 'features' and self.roi_source == 'student'

    def student_captures(self) -> Sequence[Capture]:
        return (RoICapture(),)

    def match(self, step: Any) -> list[Matched | None]:
        captured: dict[int, RoIOutputs] = step.captured[RoICapture()]
        if not captured:
            raise DistillationError(
                "the student's RoI head did not run while it computed its losses, so "
                f"'roi.{self.value}' has nothing to match."
            )
        matched: list[Matched | None] = []
        for number, other in self._stages:
            # A cascade stops early when a stage leaves no proposal.
            if number not in captured:
                matched.append(None)
                continue
            outputs = captured[number]
            source: Hashable = ('student', number)
            if self.roi_source != 'student':
                source = (self.roi_source, number, self.num_rois)
                outputs = self._rescore(step, number, outputs, source)
            answer = teacher_scores(step.teacher, other, outputs.rois, source)
            context = LossContext(stage=number)
            if self.value == 'logits':
                matched.append(_match_logits(outputs, answer, context))
            elif self.value == 'features':
                matched.append(_match_features(outputs, answer, context))
            else:
                heads = (
                    roi_stages(step.student, 'pairs')[number][1],
                    roi_stages(step.teacher.model, 'pairs')[other][1],
                )
                matched.append(_match_deltas(outputs, answer, context, *heads))
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


def _match_logits(own: RoIOutputs, other: RoIOutputs, context: LossContext) -> Matched:
    assert own.logits is not None and other.logits is not None
    context = replace(context, activation='softmax', background=own.logits.shape[1] - 1)
    if not own.targets:
        count = float(own.logits.shape[0])
        return Matched(own.logits, other.logits, count=count, context=context)
    mask = (own.targets[1] > 0).float()
    return Matched(own.logits, other.logits, own.targets[0], mask, mask.sum(), context)


def _match_deltas(
    own: RoIOutputs,
    other: RoIOutputs,
    context: LossContext,
    head: Any,
    teacher_head: Any,
) -> Matched:
    assert own.deltas is not None and other.deltas is not None
    labels, _, target, _ = own.targets
    positive = (labels >= 0) & (labels < head.num_classes)
    labels = labels.clamp(0, head.num_classes - 1)
    student = _of_label(own.deltas, labels)
    teacher = _of_label(other.deltas, labels)
    boxes = own.rois[:, 1:].detach()
    if not same_coder(head.bbox_coder, teacher_head.bbox_coder):
        teacher = translate(teacher, boxes, teacher_head.bbox_coder, head.bbox_coder)
    if head.reg_decoded_bbox:  # the host's targets are boxes: code them
        target = head.bbox_coder.encode(boxes, target)
        target = torch.where(positive[:, None], target, torch.zeros_like(target))
    count = float(student.shape[0])
    return Matched(student, teacher, target, positive.float(), count, context)


def _match_features(
    own: RoIOutputs, other: RoIOutputs, context: LossContext
) -> Matched:
    assert own.features is not None and other.features is not None
    count = float(own.features.shape[0])
    return Matched(own.features, other.features, count=count, context=context)


def _of_label(deltas: Tensor, labels: Tensor) -> Tensor:
    """Deltas (R, 4) of each row's class; a class-agnostic head has just one."""
    if deltas.shape[1] == 4:
        return deltas
    rows = torch.arange(len(labels), device=labels.device)
    # The number of classes is told: of no rows it could not be inferred.
    return deltas.view(len(labels), deltas.shape[1] // 4, 4)[rows, labels]
