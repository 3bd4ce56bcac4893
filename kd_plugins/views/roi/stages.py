"""Stages of two RoI heads that are compared, and whose RoIs they score."""

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...checks import check_choice, check_int
from ...errors import ConfigError, DistillationError, located, nearest
from ...host_types import HostModule, Samples
from ...teachers.class_map import ClassMap
from ..base import SIDES, Side, check_same_images
from ..probe import Probe
from ..run import PROPOSALS, FrozenRun, ModelRun, norms_frozen
from .outputs import (
    RoIOutputs,
    RoIRecorder,
    roi_stages,
    score_rois,
    teacher_proposals,
    teacher_scores,
)

ROI_SOURCES = ('student', 'teacher', 'union')
Stage = int | dict[str, int] | None


@dataclass(frozen=True)
class StagePair:
    """One stage of the student and the one of the teacher it is compared with."""

    student: int
    teacher: int


@dataclass(frozen=True)
class RoISource:
    """Whose RoIs are scored.

    Args:
        roi_source: 'student': those it sampled for its own loss. 'teacher' or 'union'
            (of both): the teacher proposes too, and the student's head runs once more,
            its batch norm frozen; there are no targets then.
        num_rois: proposals kept of the teacher an image, for 'teacher' and 'union'.
    """

    roi_source: str = 'student'
    num_rois: int = 64

    def __post_init__(self) -> None:
        check_choice('roi_source', self.roi_source, ROI_SOURCES)
        check_int('num_rois', self.num_rois)

    @property
    def is_student(self) -> bool:
        """Whether they are those that the student sampled, with its targets."""
        return self.roi_source == 'student'

    @property
    def teacher_parts(self) -> tuple[str, ...]:
        """Parts of the teacher that must run, beyond its backbone."""
        if self.is_student:
            return ('neck', 'roi_head')
        return ('neck', 'rpn_head', 'roi_head')

    def scored(
        self,
        student: ModelRun,
        teacher: FrozenRun,
        samples: Samples,
        stage: StagePair,
        view: str,
    ) -> tuple[RoIOutputs, RoIOutputs] | None:
        """What both models made of the same RoIs; None for a stage that did not run.

        Args:
            student: run of the student.
            teacher: run of the teacher.
            samples: of the batch.
            stage: of both.
            view: which asks, for messages.

        Raises: DistillationError if the student's RoI head did not run at all.
        """
        outputs = scored_by_student(student, stage.student, view)
        if outputs is None:
            return None
        source: Hashable = ('student', stage.student)
        if not self.is_student:
            source = (self.roi_source, stage.student, self.num_rois)
            outputs = self._score_again(
                student, teacher, samples, stage.student, outputs, source
            )
        return outputs, teacher_scores(teacher, stage.teacher, outputs.rois, source)

    def _score_again(
        self,
        student: ModelRun,
        teacher: FrozenRun,
        samples: Samples,
        stage: int,
        sampled: RoIOutputs,
        source: Hashable,
    ) -> RoIOutputs:
        proposals: Tensor = teacher.once(
            (PROPOSALS, self.num_rois),
            lambda: teacher_proposals(teacher, samples, self.num_rois),
            per_image=False,
        )
        rois = (
            torch.cat([sampled.rois.detach(), proposals])
            if self.roi_source == 'union'
            else proposals
        )

        def score() -> RoIOutputs:
            with norms_frozen(student.model.roi_head):
                return score_rois(student.model, stage, sampled.maps, rois)

        # The proposals are this teacher's: another one's pairs have others.
        return student.once((source, teacher), score)


def scored_by_student(student: ModelRun, stage: int, view: str) -> RoIOutputs | None:
    """What the student made of its own RoIs; None for a stage that did not run.

    Args:
        student: run of the student.
        stage: of its head.
        view: which asks, for messages.

    Raises: DistillationError if its RoI head did not run at all, or on other images
        than the batch's.
    """
    recorded = student.records[RoIRecorder()]
    if not recorded:
        raise DistillationError(
            "the student's RoI head did not run while it computed its losses, so "
            f"'{view}' has nothing to match."
        )
    # A cascade stops early when a stage leaves no proposal.
    if stage not in recorded:
        return None
    outputs = recorded[stage]
    check_same_images(len(outputs.maps[0]), student.batch_size, 'the RoI head')
    return outputs


def pair_stages(stage: Stage, student: int, teacher: int) -> tuple[StagePair, ...]:
    """Which stage of the teacher each stage of the student is compared with.

    Args:
        stage: a number for both models, or ``dict(student=, teacher=)``; None: every
            stage of the student, each with the teacher's stage of the same number, or
            its last.
        student: how many stages it has.
        teacher: likewise.

    Raises: ConfigError for a stage there is not.
    """
    if stage is None:
        return tuple(
            StagePair(number, min(number, teacher - 1)) for number in range(student)
        )
    if isinstance(stage, dict):
        for key, number in stage.items():
            if key not in SIDES:
                raise ConfigError(
                    f"no key '{key}'. {nearest(str(key), SIDES)}", key='stage'
                )
            check_int(f'stage.{key}', number, minimum=0)
        pair = StagePair(stage.get('student', 0), stage.get('teacher', 0))
    else:  # one number for both; a head that is no cascade has just its one
        stage = check_int('stage', stage, minimum=0)
        pair = StagePair(
            stage if student > 1 or teacher == 1 else 0,
            stage if teacher > 1 or student == 1 else 0,
        )
    if not (0 <= pair.student < student and 0 <= pair.teacher < teacher):
        raise ConfigError(
            f'got student {pair.student} and teacher {pair.teacher}; student stages: '
            f'{student}, teacher stages: {teacher}, counted from 0.',
            key='stage',
        )
    return (pair,)


def assigns_targets(model: nn.Module) -> bool:
    """Whether a RoI head computes its targets by ``loss_and_target`` of its box head.

    PISA computes both by itself, and weighs them by how hard they are.
    """
    from mmdet.models.roi_heads import PISARoIHead

    return not isinstance(model.roi_head, PISARoIHead)


def box_heads(probe: Probe) -> dict[Side, list[HostModule]]:
    """Box heads of both models, stage by stage.

    Raises: UnservedError naming the model whose heads cannot be read.
    """
    heads = {}
    for side in SIDES:
        with located(f'({side})'):
            heads[side] = [head for _, head in roi_stages(probe.model(side))]
    probe.check_images('the RoI head')
    return heads


def box_head(model: nn.Module, stage: int) -> HostModule:
    """The box head of one stage."""
    return roi_stages(model)[stage][1]


def check_same_classes(
    student: HostModule, teacher: HostModule, probe: Probe
) -> ClassMap | None:
    """The class map of two heads, if their classes can be compared.

    Raises: ConfigError where they know other classes, and no map says which.
    """
    numbers = (student.num_classes, teacher.num_classes)
    if probe.class_map is not None:
        probe.class_map.check_numbers(*numbers)
    elif numbers[0] != numbers[1]:
        raise ConfigError(
            f"student has {numbers[0]} classes, teacher '{probe.teacher_name}' "
            f'{numbers[1]}. Set model.teacher to one of the same classes in the same '
            'order, name those of both in its class_map, or distil features (a layer, '
            'or roi.features) only.'
        )
    return probe.class_map


def stage_name(view: str, stage: int, stages: int) -> str:
    """What a stage is called in the summary."""
    return view + (f' stage {stage}' if stages > 1 else '')
