"""A layer of the student and one of the teacher: found, tried, and read."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...checks import check_choice
from ...errors import ConfigError, DistillationError, located, raise_together
from ...recorders import (
    VALUES,
    LayerRecord,
    LayerRecorder,
    Recorder,
    find_layer,
)
from ...recorders.recorder import Value
from ..base import SIDES, Side, UnservedError
from ..heads import part_of, refuse_behind_features, run_for
from ..probe import Probe
from ..roi.outputs import ROI_HEAD, RoIRecorder, roi_stages, stage_of
from ..run import FrozenRun, ModelRun
from ..transformer.queries import refuse_behind_queries
from .levels import Levels, chosen_levels, read_levels
from .norms import NormRecorder

Choice = str | dict[str, str]


@dataclass(frozen=True)
class BoundLayer:
    """A layer of one model, as it is recorded.

    Attributes:
        side: whose it is.
        recorder: of its tensors.
        levels: those that are compared, from 0; None for all.
        on_rois: whether it gives rows of RoIs rather than maps of images.
        count: how many tensors are compared.
    """

    side: Side
    recorder: LayerRecorder
    levels: tuple[int, ...] | None
    on_rois: bool
    count: int

    @property
    def path(self) -> str:
        """Its dotted name."""
        return self.recorder.path

    def number(self, index: int) -> int:
        """Number of the level that is compared at this index, from 0."""
        return index if self.levels is None else self.levels[index]

    def choose(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Of all levels those that are compared."""
        what = f"'{self.path}' of the {self.side}"
        return chosen_levels(outputs, self.levels, what)


@dataclass(frozen=True)
class DryRun:
    """What a layer gave in a dry run, of the levels that are compared.

    Attributes:
        tensors: one a level.
        norms: the batch norm behind each; None where there is none, or not known.
    """

    tensors: list[Tensor]
    norms: list[nn.Module | None]


@dataclass(frozen=True)
class BoundLayers:
    """A layer of both models, recorded and read together."""

    student: BoundLayer
    teacher: BoundLayer

    @property
    def on_rois(self) -> bool:
        """Whether both give rows of RoIs."""
        return self.teacher.on_rois

    @property
    def student_recorders(self) -> tuple[Recorder[Any], ...]:
        """What to attach to the student while it computes its own losses."""
        if self.on_rois:
            return (self.student.recorder, RoIRecorder())
        return (self.student.recorder,)

    @property
    def teacher_parts(self) -> tuple[str, ...]:
        """Parts of the teacher that must run, beyond its backbone."""
        part = part_of(self.teacher.path)
        if part == 'backbone':
            return ()
        return ('neck',) if part == 'neck' else ('neck', part)

    def read(
        self, student: ModelRun, teacher: FrozenRun
    ) -> tuple[list[Tensor], list[Tensor]] | None:
        """Tensors of both models in this step; None where the student's did not run.

        Raises: DistillationError if there are others than in the dry run.
        """
        rois = None
        stage = 0
        if self.on_rois:
            stage = stage_of(student.model, self.student.path)
            scored = student.records[RoIRecorder()].get(stage)
            if scored is None:  # a cascade stops early when no proposal is left
                return None
            rois = scored.rois
        record = student.records[self.student.recorder]
        _check_record(record)
        key = run_for(teacher, self.teacher.path, rois, ('student', stage))
        recorded = teacher.recorded(self.teacher.recorder, key)
        student_tensors = self.student.choose(record.outputs)
        teacher_tensors = self.teacher.choose(recorded)
        expected = self.student.count
        if not len(student_tensors) == len(teacher_tensors) == expected:
            raise DistillationError(
                f"layer '{self.student.path}' of the student gave "
                f"{len(student_tensors)} tensors, '{self.teacher.path}' of the teacher "
                f'{len(teacher_tensors)}, where {expected} were expected. Choose '
                'levels=[...], or another layer.'
            )
        if not self.on_rois:
            teacher_tensors = [teacher.crop(item) for item in teacher_tensors]
        return student_tensors, teacher_tensors


class LayerSource:
    """What a configuration says of a layer of both models.

    Args:
        layer: dotted name in both models, or ``dict(student=..., teacher=...)``.
        levels: which levels, from 0; a list for both, or ``dict(student=, teacher=)``.
        value: 'output' or 'input'.
        key: of ``layer`` in the configuration of the pair, for messages.
    """

    def __init__(
        self,
        layer: Choice,
        levels: Sequence[int] | dict[str, Any] | None = None,
        value: str = 'output',
        key: str = 'layer',
    ) -> None:
        both = dict.fromkeys(SIDES, layer) if isinstance(layer, str) else layer
        if not isinstance(both, dict) or set(both) != set(SIDES):
            raise ConfigError(
                "must be a dotted name or dict(student='...', teacher='...'), got "
                f'{layer!r}.',
                key=key,
            )
        self.paths: dict[Side, str] = {side: str(both[side]) for side in SIDES}
        self.levels: Levels = read_levels(levels)
        self.value = cast(Value, check_choice('value', value, VALUES))
        self.key = key

    def bind(self, probe: Probe) -> tuple[BoundLayers, DryRun, DryRun]:
        """The layer of both models, and what each of them gives in a dry run.

        Raises: ConfigError where there is none, for one that cannot be read or never
            fires, and for levels there are not.
        """
        self.check(probe)
        student, of_student = self._bind(probe, 'student')
        teacher, of_teacher = self._bind(probe, 'teacher')
        return BoundLayers(student, teacher), of_student, of_teacher

    def check(self, probe: Probe) -> None:
        """Look the layer up in both models, before anything is attached to them."""
        with located(self.key):
            self._find(probe)

    def _find(self, probe: Probe) -> None:
        faults = []
        for side in SIDES:
            model, path = probe.model(side), probe.layer(side, self.paths[side])
            try:
                with located(f'({side})'):
                    _find_part(model, path)
                    refuse_behind_queries(model, path)
                    refuse_behind_features(model, path)
            except ConfigError as error:
                faults.append(error)
        raise_together(faults)
        student, teacher = (
            part_of(probe.layer(side, self.paths[side])) == ROI_HEAD for side in SIDES
        )
        if student != teacher:
            raise ConfigError(
                f"student '{self.paths['student']}', teacher "
                f"'{self.paths['teacher']}': one of them gives rows of RoIs, the other "
                'maps of images. Choose both inside the roi_head, or both outside.'
            )

    def _bind(self, probe: Probe, side: Side) -> tuple[BoundLayer, DryRun]:
        model, path = probe.model(side), probe.layer(side, self.paths[side])
        on_rois = part_of(path) == ROI_HEAD
        rois = None
        if on_rois:
            with located(self.key), located(f'({side})'):
                roi_stages(model)
            device = next(model.parameters()).device
            rois = torch.tensor([[0.0, 8.0, 8.0, 72.0, 72.0]], device=device)
        recorder = LayerRecorder(path, value=self.value)
        norm_recorder = NormRecorder(path, self.value)
        gradient = side == 'student'  # a frozen level has none
        with probe.run(side, (norm_recorder, recorder), gradient) as run:
            key = run_for(run, path, rois, 'probe')
            outputs = list(run.recorded(recorder, key))
            record = run.records[recorder]
            norms = run.records[norm_recorder].behind(outputs)
        if not outputs:
            raise ConfigError(
                f"'{path}' of the {side} never fires. Choose a layer that runs when "
                'features, RPN or RoI head are computed.',
                key=self.key,
            )
        what = f"'{path}' of the {side}"
        tensors = chosen_levels(outputs, self.levels[side], what)
        numbers = self.levels[side] or range(len(outputs))
        # A ReLU in place after this layer, or this layer itself: what is recorded must
        # be copied in time.
        recorder = LayerRecorder(path, record.overwritten, self.value)
        levels = None if self.levels[side] is None else tuple(numbers)
        bound = BoundLayer(side, recorder, levels, on_rois, len(tensors))
        return bound, DryRun(tensors, [norms[number] for number in numbers])


def _find_part(model: nn.Module, path: str) -> None:
    """Look a layer up.

    Raises: ConfigError if there is none, with the nearest names; UnservedError if the
        model has no such part, nor one of a name that is close.
    """
    try:
        find_layer(model, path)
    except ConfigError as error:
        parts = [name for name, _ in model.named_children()]
        if difflib.get_close_matches(part_of(path), parts, cutoff=0.5):
            raise
        raise UnservedError(str(error)) from error


def _check_record(record: LayerRecord) -> None:
    if not record.outputs:
        raise DistillationError(
            f"layer '{record.path}' of the student never fired while it computed its "
            'losses. Choose a layer that takes part in them.'
        )
    if record.overwritten:
        # In the dry run, in eval, it was not: else copies would have been recorded.
        verb = 'gave' if record.value == 'output' else 'read'
        raise DistillationError(
            f"what layer '{record.path}' of the student {verb} was written into "
            'while it computed its losses: in training, a layer after it works in '
            'place. Set inplace=False there, or choose that layer.'
        )
