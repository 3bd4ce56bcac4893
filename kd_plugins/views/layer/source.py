"""A layer of the student and one of the teacher: found, tried, and read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...checks import check_choice
from ...errors import ConfigError, DistillationError, nearest
from ...recorders import VALUES, LayerRecorder, find_layer
from ..base import Recorder, View
from ..heads import ROI_HEAD, part_of, run_for, stage_of
from ..roi.outputs import RoIRecorder, roi_stages
from ..transformer.queries import refuse_behind_queries
from .norms import traced_norms

Choice = str | dict[str, str]
Both = tuple[list[Tensor], list[Tensor]]
SIDES = ('student', 'teacher')


@dataclass(frozen=True)
class LayerCapture(Recorder):
    """Outputs, or inputs, of one layer; copies where something writes into them."""

    path: str
    copy: bool = False
    value: str = 'output'

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[LayerRecorder]:
        layer = model.get_submodule(self.path)
        recorder = LayerRecorder(layer, self.path, self.copy, self.value)
        with recorder.open():
            yield recorder


class LayerSource:
    """Tensors of a layer of both models, level by level.

    Args:
        layer: dotted name in both models, or ``dict(student=..., teacher=...)``.
        levels: which levels, from 0; a list for both, or ``dict(student=, teacher=)``.
        value: 'output' or 'input'.
        key: of ``layer`` in the configuration of the pair, for messages.

    Attributes:
        paths: dotted names.
        levels: as chosen; None for all.
        norms: of each of the teacher's tensors, once bound: the batch norm behind it.
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
                f"{key.rpartition('.')[2]} must be a dotted name or dict(student='...',"
                f" teacher='...'), got {layer!r}."
            )
        self.paths = {which: str(both[which]) for which in SIDES}
        self.levels = read_levels(levels)
        self.value = check_choice('value', value, VALUES)
        self.norms: list[nn.Module | None] = []
        self._key = key
        self._copied = dict.fromkeys(SIDES, False)

    @property
    def on_rois(self) -> bool:
        """Whether it gives rows of RoIs rather than maps of images."""
        return part_of(self.paths['teacher']) == ROI_HEAD

    def capture(self, which: str) -> LayerCapture:
        """What records this layer of the student or the teacher."""
        return LayerCapture(self.paths[which], self._copied[which], self.value)

    def teacher_parts(self) -> tuple[str, ...]:
        """Parts of the teacher that must run, beyond its backbone."""
        part = part_of(self.paths['teacher'])
        if part == 'backbone':
            return ()
        return ('neck',) if part == 'neck' else ('neck', part)

    def student_recorders(self) -> tuple[Recorder, ...]:
        """What to attach to the student while it computes its own losses."""
        own = self.capture('student')
        return (own, RoIRecorder()) if self.on_rois else (own,)

    def find(self, probe: Any, where: str) -> None:
        """Look the layer up in both models, before anything is attached to them.

        Args:
            probe: a :class:`~kd_plugins.views.probe.Probe` of the two models.
            where: configuration key of the pair, for messages.

        Raises: ConfigError where there is none, or one that cannot be read.
        """
        at = f'{where}.{self._key}'
        faults = []
        for which in SIDES:
            try:
                model, path = getattr(probe, which), self.paths[which]
                find_layer(model, path, f'{at} ({which})')
                refuse_behind_queries(model, path, f'{at} ({which})')
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError('\n'.join(faults))
        if (part_of(self.paths['student']) == ROI_HEAD) != self.on_rois:
            raise ConfigError(
                f"{at}: student '{self.paths['student']}', teacher "
                f"'{self.paths['teacher']}': one of them gives rows of RoIs, the other "
                'maps of images. Choose both inside the roi_head, or both outside.'
            )

    def bind(self, probe: Any, view: View, where: str) -> Both:
        """Tensors of both models in a dry run.

        Args:
            probe: as above.
            view: that asks, all its layers found.
            where: as above.

        Raises: ConfigError for layers that never fire, and for levels there are not.
        """
        student = self._try(probe, view, 'student', where)
        return student, self._try(probe, view, 'teacher', where)

    def _try(self, probe: Any, view: View, which: str, where: str) -> list[Tensor]:
        model, path = getattr(probe, which), self.paths[which]
        at = f'{where}.{self._key}'
        rois = None
        if self.on_rois:
            roi_stages(model, f'{at} ({which})')
            device = next(model.parameters()).device
            rois = torch.tensor([[0.0, 8.0, 8.0, 72.0, 72.0]], device=device)
        with (
            traced_norms(model, path, self.value) as norms,
            probe.run(view, which, where) as run,
        ):
            capture = self.capture(which)
            key = run_for(run, path, rois, 'probe')
            outputs = list(run.recorded(capture, key))
            # A ReLU in place after this layer, or this layer itself: what is recorded
            # must be copied in time.
            self._copied[which] = run.captured[capture].overwritten
        if not outputs:
            raise ConfigError(
                f"{at}: '{path}' of the {which} never fires. Choose a layer "
                'that runs when features, RPN or RoI head are computed.'
            )
        chosen = self._select(outputs, which, where)
        if which == 'teacher':
            numbers = self.levels[which] or range(len(outputs))
            self.norms = [norms[number] for number in numbers]
        return chosen

    def _select(
        self, outputs: Sequence[Tensor], which: str, where: str
    ) -> list[Tensor]:
        what = f"{where}.levels: '{self.paths[which]}' of the {which}"
        return chosen_levels(outputs, self.levels[which], what)

    def read(self, step: Any, expected: int) -> Both | None:
        """Tensors of both models in this step; None where the student's did not run.

        Args:
            step: a :class:`~kd_plugins.views.step.Step`.
            expected: how many of each there were in the dry run.

        Raises: DistillationError if there are others.
        """
        rois = None
        stage = 0
        if self.on_rois:
            stage = stage_of(step.student, self.paths['student'])
            scored = step.captured[RoIRecorder()].get(stage)
            if scored is None:  # a cascade stops early when no proposal is left
                return None
            rois = scored.rois
        recorder = step.captured[self.capture('student')]
        _check_recorded(recorder)
        run = step.teacher
        key = run_for(run, self.paths['teacher'], rois, ('student', stage))
        recorded = run.recorded(self.capture('teacher'), key)
        student = self._select(recorder.outputs, 'student', 'pairs')
        teacher = self._select(recorded, 'teacher', 'pairs')
        if not len(student) == len(teacher) == expected:
            raise DistillationError(
                f"layer '{self.paths['student']}' of the student gave {len(student)} "
                f"tensors, '{self.paths['teacher']}' of the teacher {len(teacher)}, "
                f'where {expected} were expected. Choose levels=[...], or another '
                'layer.'
            )
        if not self.on_rois:
            teacher = [run.crop(item) for item in teacher]
        return student, teacher


def _check_recorded(recorder: LayerRecorder) -> None:
    if not recorder.outputs:
        raise DistillationError(
            f"layer '{recorder.path}' of the student never fired while it computed its "
            'losses. Choose a layer that takes part in them.'
        )
    if recorder.overwritten:
        # In the dry run, in eval, it was not: else copies would have been recorded.
        verb = 'gave' if recorder.value == 'output' else 'read'
        raise DistillationError(
            f"what layer '{recorder.path}' of the student {verb} was written into "
            'while it computed its losses: in training, a layer after it works in '
            'place. Set inplace=False there, or choose that layer.'
        )


def chosen_levels(
    outputs: Sequence[Tensor], levels: Sequence[int] | None, what: str
) -> list[Tensor]:
    """The outputs of these levels; all for None.

    Args:
        outputs: one a level.
        levels: numbers from 0.
        what: configuration key and layer, for messages.

    Raises: ConfigError for a level there is not.
    """
    if levels is None:
        return list(outputs)
    wrong = [level for level in levels if not 0 <= level < len(outputs)]
    if wrong:
        raise ConfigError(
            f'{what} gives {len(outputs)} levels, counted from 0; there is no '
            f'{wrong[0]}.'
        )
    return [outputs[level] for level in levels]


def read_levels(levels: Any) -> dict[str, list[int] | None]:
    """Chosen levels of 'student' and 'teacher', None for all.

    Args:
        levels: a list for both, ``dict(student=[...], teacher=[...])``, or None.

    Raises: ConfigError for anything else.
    """
    both = levels if isinstance(levels, dict) else dict.fromkeys(SIDES, levels)
    chosen: dict[str, list[int] | None] = dict.fromkeys(SIDES)
    for which, numbers in both.items():
        if which not in SIDES:
            raise ConfigError(f"levels: no key '{which}'. {nearest(which, SIDES)}")
        if numbers is None:
            continue
        if (
            not isinstance(numbers, (list, tuple))
            or not numbers
            or not all(isinstance(number, int) for number in numbers)
        ):
            raise ConfigError(
                'levels must be a list of whole numbers such as [0, 1], got '
                f'{numbers!r}.'
            )
        chosen[which] = list(numbers)
    return chosen
