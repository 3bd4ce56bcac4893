"""Layers by dotted name, level by level."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DistillationError
from ..losses import LossContext
from ..recorders import LayerRecorder, find_layer
from ..registry import VIEWS
from .base import Capture, Matched, Place, View
from .roi import RoICapture, teacher_scores
from .rpn import teacher_rpn
from .run import ModelRun

Choice = str | dict[str, str]


@dataclass(frozen=True)
class LayerCapture(Capture):
    """Outputs of one layer."""

    path: str

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[LayerRecorder]:
        layer = find_layer(model, self.path, 'pairs')
        with LayerRecorder(layer, self.path).open() as recorder:
            yield recorder


@VIEWS.register_module()
class LayerView(View):
    """Outputs of a layer of the student and of a layer of the teacher.

    Args:
        layer: dotted name in both models, or ``dict(student=..., teacher=...)``. A layer
            that gives several tensors (a neck, a convolution shared over the FPN) has
            as many levels.
        levels: which levels, from 0; a list for both, or ``dict(student=, teacher=)``.
            Default: all.

    Layers inside the RoI head are compared on the student's sampled RoIs.
    """

    def __init__(
        self, layer: Choice, levels: Sequence[int] | dict[str, Any] | None = None
    ) -> None:
        both = {'student': layer, 'teacher': layer} if isinstance(layer, str) else layer
        if not isinstance(both, dict) or set(both) != {'student', 'teacher'}:
            raise ConfigError(
                "layer must be a dotted name or dict(student='...', teacher='...'), got "
                f'{layer!r}.'
            )
        self.student, self.teacher = str(both['student']), str(both['teacher'])
        self.levels = (
            dict(levels)
            if isinstance(levels, dict)
            else {'student': levels, 'teacher': levels}
        )

    def teacher_parts(self) -> tuple[str, ...]:
        part = self.teacher.split('.')[0]
        if part == 'backbone':
            return ()
        return ('neck',) if part == 'neck' else ('neck', part)

    def bind(self, probe: Any, where: str) -> list[Place]:
        find_layer(probe.student, self.student, f'{where}.layer (student)')
        find_layer(probe.teacher, self.teacher, f'{where}.layer (teacher)')
        student = self._probe(probe, probe.student, 'student', where)
        teacher = self._probe(probe, probe.teacher, 'teacher', where)
        if len(student) != len(teacher):
            raise ConfigError(
                f"{where}.levels: student '{self.student}' gives {len(student)} maps, "
                f"teacher '{self.teacher}' {len(teacher)}. Choose as many of both: "
                'levels=dict(student=[...], teacher=[...]).'
            )
        places = []
        for level, (own, other) in enumerate(zip(student, teacher, strict=True)):
            number = self._chosen('student', level)
            name = self.student + (f'[{number}]' if len(student) > 1 else '')
            if self.student != self.teacher:
                name += f' / {self.teacher}'
            if own.dim() != other.dim():
                raise ConfigError(
                    f'{where}.layer: student {tuple(own.shape)} and teacher '
                    f'{tuple(other.shape)} differ in kind. Choose layers that both give '
                    'maps (N, C, H, W), or both rows (R, C).'
                )
            stretch = (
                (
                    other.shape[-2] / own.shape[-2],
                    other.shape[-1] / own.shape[-1],
                )
                if own.dim() == 4
                else (1.0, 1.0)
            )
            places.append(Place(name, tuple(own.shape), tuple(other.shape), stretch))
        return places

    def _chosen(self, which: str, level: int) -> int:
        levels = self.levels.get(which)
        return level if levels is None else int(levels[level])

    def _probe(self, probe: Any, model: Any, which: str, where: str) -> list[Tensor]:
        path = getattr(self, which)
        rois = torch.tensor([[0.0, 8.0, 8.0, 72.0, 72.0]])
        with probe.run(model, self, which) as run:
            self._reach(run, path, {0: rois.to(next(model.parameters()).device)})
        outputs = self._select(run.captured[LayerCapture(path)].outputs, which, where)
        if not outputs:
            raise ConfigError(
                f"{where}.layer: '{path}' of the {which} never fires. Choose a layer that "
                'runs when features, RPN or RoI head are computed.'
            )
        return outputs

    def _reach(self, run: ModelRun, path: str, rois: dict[int, Tensor]) -> None:
        """Run the head that holds this layer, where there is one."""
        part = path.split('.')[0]
        if part == 'rpn_head':
            teacher_rpn(run)
        elif part == 'roi_head':
            for stage, boxes in rois.items():
                teacher_scores(run, stage, boxes, ('student', stage))
        elif part not in ('backbone', 'neck'):
            head = getattr(run.model, part)
            run.once(part, lambda: head(run.features))

    def _select(self, outputs: list[Tensor], which: str, where: str) -> list[Tensor]:
        levels = self.levels.get(which)
        if levels is None or not outputs:
            return outputs
        wrong = [level for level in levels if not 0 <= level < len(outputs)]
        if wrong:
            raise ConfigError(
                f'{where}.levels: {which} gives {len(outputs)} levels, counted from 0; '
                f'there is no {wrong[0]}.'
            )
        return [outputs[level] for level in levels]

    def student_captures(self) -> Sequence[Capture]:
        own = LayerCapture(self.student)
        return (own, RoICapture()) if self._on_rois else (own,)

    def teacher_captures(self) -> Sequence[Capture]:
        return (LayerCapture(self.teacher),)

    @property
    def _on_rois(self) -> bool:
        return self.teacher.split('.')[0] == 'roi_head'

    def match(self, step: Any) -> list[Matched | None]:
        student = self._select(
            step.captured[LayerCapture(self.student)].outputs, 'student', 'pairs'
        )
        if not student:
            raise DistillationError(
                f"layer '{self.student}' of the student never fired while it computed "
                'its losses. Choose a layer that takes part in them.'
            )
        rois = (
            {stage: item.rois for stage, item in step.captured[RoICapture()].items()}
            if self._on_rois
            else {}
        )
        self._reach(step.teacher, self.teacher, rois)
        teacher = self._select(
            step.teacher.captured[LayerCapture(self.teacher)].outputs,
            'teacher',
            'pairs',
        )
        if len(student) != len(teacher):
            raise DistillationError(
                f"layer '{self.student}' of the student gave {len(student)} tensors, "
                f"'{self.teacher}' of the teacher {len(teacher)}. Choose levels=."
            )
        return [
            Matched(
                own,
                step.teacher.crop(other),
                count=float(own.shape[0]),
                context=LossContext(level=level),
            )
            for level, (own, other) in enumerate(zip(student, teacher, strict=True))
        ]
