"""Layers by dotted name, level by level."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DistillationError, nearest
from ..losses import LossContext
from ..recorders import LayerRecorder, find_layer
from ..registry import VIEWS
from .base import Capture, Matched, Place, View
from .heads import ROI_HEAD, part_of, run_for, stage_of
from .probe import SIDE
from .roi_capture import RoICapture, roi_stages

Choice = str | dict[str, str]
_SIDES = ('student', 'teacher')


@dataclass(frozen=True)
class LayerCapture(Capture):
    """Outputs of one layer; copies of them where what follows writes into them."""

    path: str
    copy: bool = False

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[LayerRecorder]:
        layer = model.get_submodule(self.path)
        with LayerRecorder(layer, self.path, self.copy).open() as recorder:
            yield recorder


@VIEWS.register_module()
class LayerView(View):
    """Outputs of a layer of the student and of a layer of the teacher.

    Args:
        layer: dotted name in both models, or ``dict(student=..., teacher=...)``. A
            layer that gives several tensors (a neck, a convolution shared over the FPN)
            has as many levels.
        levels: which levels, from 0; a list for both, or ``dict(student=, teacher=)``.
            Default: all.

    Layers inside the RoI head are compared on the student's sampled RoIs.
    """

    def __init__(
        self, layer: Choice, levels: Sequence[int] | dict[str, Any] | None = None
    ) -> None:
        both = dict.fromkeys(_SIDES, layer) if isinstance(layer, str) else layer
        if not isinstance(both, dict) or set(both) != set(_SIDES):
            raise ConfigError(
                "layer must be a dotted name or dict(student='...', teacher='...'), "
                f'got {layer!r}.'
            )
        self.paths = {which: str(both[which]) for which in _SIDES}
        self.levels = _levels(levels)
        self._copied = dict.fromkeys(_SIDES, False)
        self._contexts: list[LossContext] = []

    def _capture(self, which: str) -> LayerCapture:
        return LayerCapture(self.paths[which], self._copied[which])

    @property
    def _on_rois(self) -> bool:
        return part_of(self.paths['teacher']) == ROI_HEAD

    def teacher_parts(self) -> tuple[str, ...]:
        part = part_of(self.paths['teacher'])
        if part == 'backbone':
            return ()
        return ('neck',) if part == 'neck' else ('neck', part)

    def student_captures(self) -> Sequence[Capture]:
        own = self._capture('student')
        return (own, RoICapture()) if self._on_rois else (own,)

    def teacher_captures(self) -> Sequence[Capture]:
        return (self._capture('teacher'),)

    def bind(self, probe: Any, where: str) -> list[Place]:
        faults = []
        for which in _SIDES:
            try:
                find_layer(
                    getattr(probe, which), self.paths[which], f'{where}.layer ({which})'
                )
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError('\n'.join(faults))
        if (part_of(self.paths['student']) == ROI_HEAD) != self._on_rois:
            raise ConfigError(
                f"{where}.layer: student '{self.paths['student']}', teacher "
                f"'{self.paths['teacher']}': one of them gives rows of RoIs, the other "
                'maps of images. Choose both inside the roi_head, or both outside.'
            )
        student = self._probe(probe, 'student', where)
        teacher = self._probe(probe, 'teacher', where)
        if len(student) != len(teacher):
            raise ConfigError(
                f"{where}.levels: student '{self.paths['student']}' gives "
                f"{len(student)} maps, teacher '{self.paths['teacher']}' "
                f'{len(teacher)}. Choose as many of both: '
                'levels=dict(student=[...], teacher=[...]).'
            )
        places = [
            self._place(level, len(student), own, other, where)
            for level, (own, other) in enumerate(zip(student, teacher, strict=True))
        ]
        self._contexts = [place.context for place in places]
        return places

    def _place(
        self, level: int, levels: int, own: Tensor, other: Tensor, where: str
    ) -> Place:
        if own.dim() != other.dim() or own.dim() < 2:
            raise ConfigError(
                f'{where}.layer: student {tuple(own.shape)} and teacher '
                f'{tuple(other.shape)} differ in kind. Choose layers that both give '
                'maps (N, C, H, W), or both rows (R, C).'
            )
        chosen = self.levels['student']
        number = level if chosen is None else chosen[level]
        name = self.paths['student'] + (f'[{number}]' if levels > 1 else '')
        if self.paths['student'] != self.paths['teacher']:
            name += f' / {self.paths["teacher"]}'
        stretch, stride = (1.0, 1.0), None
        if own.dim() == 4:
            if not self._on_rois:
                stride = round(SIDE / own.shape[-1])
            stretch = (
                other.shape[-2] / own.shape[-2],
                other.shape[-1] / own.shape[-1],
            )
        context = LossContext(level=number, stride=stride)
        return Place(name, tuple(own.shape), tuple(other.shape), stretch, context)

    def _probe(self, probe: Any, which: str, where: str) -> list[Tensor]:
        model, path = getattr(probe, which), self.paths[which]
        rois = None
        if self._on_rois:
            roi_stages(model, f'{where}.layer ({which})')
            device = next(model.parameters()).device
            rois = torch.tensor([[0.0, 8.0, 8.0, 72.0, 72.0]], device=device)
        with probe.run(self, which, where) as run:
            capture = self._capture(which)
            key = run_for(run, path, rois, 'probe')
            outputs = list(run.recorded(capture, key))
            # A ReLU in place after this layer: its output must be copied in time.
            self._copied[which] = run.captured[capture].overwritten
        if not outputs:
            raise ConfigError(
                f"{where}.layer: '{path}' of the {which} never fires. Choose a layer "
                'that runs when features, RPN or RoI head are computed.'
            )
        return self._select(outputs, which, where)

    def _select(
        self, outputs: Sequence[Tensor], which: str, where: str
    ) -> list[Tensor]:
        levels = self.levels[which]
        if levels is None:
            return list(outputs)
        wrong = [level for level in levels if not 0 <= level < len(outputs)]
        if wrong:
            raise ConfigError(
                f"{where}.levels: '{self.paths[which]}' of the {which} gives "
                f'{len(outputs)} levels, counted from 0; there is no {wrong[0]}.'
            )
        return [outputs[level] for level in levels]

    def match(self, step: Any) -> list[Matched | None]:
        rois = None
        stage = 0
        if self._on_rois:
            stage = stage_of(step.student, self.paths['student'])
            scored = step.captured[RoICapture()].get(stage)
            if scored is None:  # a cascade stops early when no proposal is left
                return [None] * len(self._contexts)
            rois = scored.rois
        recorder = step.captured[self._capture('student')]
        _check_recorded(recorder)
        outputs = recorder.outputs
        run = step.teacher
        key = run_for(run, self.paths['teacher'], rois, ('student', stage))
        recorded = run.recorded(self._capture('teacher'), key)
        student = self._select(outputs, 'student', 'pairs')
        teacher = self._select(recorded, 'teacher', 'pairs')
        if not len(student) == len(teacher) == len(self._contexts):
            raise DistillationError(
                f"layer '{self.paths['student']}' of the student gave {len(student)} "
                f"tensors, '{self.paths['teacher']}' of the teacher {len(teacher)}, "
                f'where {len(self._contexts)} were expected. Choose levels=[...].'
            )
        return [
            Matched(
                own,
                other if self._on_rois else run.crop(other),
                count=float(own.shape[0]),
                context=context,
            )
            for own, other, context in zip(
                student, teacher, self._contexts, strict=True
            )
        ]


def _check_recorded(recorder: LayerRecorder) -> None:
    if not recorder.outputs:
        raise DistillationError(
            f"layer '{recorder.path}' of the student never fired while it computed its "
            'losses. Choose a layer that takes part in them.'
        )
    if recorder.overwritten:
        # In the dry run, in eval, it was not: else copies would have been recorded.
        raise DistillationError(
            f"what layer '{recorder.path}' of the student gave was written into while "
            'it computed its losses: in training, a layer after it works in place. Set '
            'inplace=False there, or choose that layer.'
        )


def _levels(levels: Any) -> dict[str, list[int] | None]:
    both = levels if isinstance(levels, dict) else dict.fromkeys(_SIDES, levels)
    chosen: dict[str, list[int] | None] = dict.fromkeys(_SIDES)
    for which, numbers in both.items():
        if which not in _SIDES:
            raise ConfigError(f"levels: no key '{which}'. {nearest(which, _SIDES)}")
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
