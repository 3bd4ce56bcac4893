"""Layers by dotted name, level by level."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import LossContext
from ...registry import VIEWS
from ..base import MatchedTensors, Place, Recorder, View
from ..heads import run_for
from ..probe import SIDE
from .source import Choice, LayerSource


@VIEWS.register_module()
class LayerView(View):
    """What a layer of the student and a layer of the teacher give, or read.

    Args:
        layer: dotted name in both models, or ``dict(student=..., teacher=...)``. A
            layer that gives several tensors (a neck, a convolution shared over the FPN)
            has as many levels.
        levels: which levels, from 0; a list for both, or ``dict(student=, teacher=)``.
            Default: all.
        value: 'output', or 'input', what the layer reads. Of an activation that is the
            pre-activation; a residual block calls its one ReLU several times, and the
            last call is that of the block: in mmdet's BasicBlock the second, a pair of
            ``layer='backbone.layer4.1.relu', value='input', levels=[1]``, in a
            Bottleneck the third, ``levels=[2]``.

    Layers inside the RoI head are compared on the student's sampled RoIs.
    """

    def __init__(
        self,
        layer: Choice,
        levels: Sequence[int] | dict[str, Any] | None = None,
        value: str = 'output',
    ) -> None:
        self.source = LayerSource(layer, levels, value)
        self._of_pair = False
        self._contexts: list[LossContext] = []

    @classmethod
    def of_pair(
        cls,
        layer: Choice,
        levels: Sequence[int] | dict[str, Any] | None = None,
        value: str = 'output',
    ) -> 'LayerView':
        """A view of which these are keys of the pair itself, as messages then say."""
        view = cls(layer, levels, value)
        view._of_pair = True
        return view

    def teacher_parts(self) -> tuple[str, ...]:
        return self.source.teacher_parts()

    def student_recorders(self) -> Sequence[Recorder]:
        return self.source.student_recorders()

    def teacher_recorders(self) -> Sequence[Recorder]:
        return (self.source.capture('teacher'),)

    def bind(self, probe: Any, where: str) -> list[Place]:
        where = where if self._of_pair else f'{where}.view'
        self.source.find(probe, where)
        student, teacher = self.source.bind(probe, self, where)
        if len(student) != len(teacher):
            paths = self.source.paths
            raise ConfigError(
                f"{where}.levels: student '{paths['student']}' gives {len(student)} "
                f"maps, teacher '{paths['teacher']}' {len(teacher)}. Choose as many of "
                'both: levels=dict(student=[...], teacher=[...]).'
            )
        compared = zip(student, teacher, self.source.norms, strict=True)
        places = [
            self._place(level, len(student), own, other, norm, where)
            for level, (own, other, norm) in enumerate(compared)
        ]
        self._contexts = [place.context for place in places]
        return places

    def _place(
        self,
        level: int,
        levels: int,
        own: Tensor,
        other: Tensor,
        norm: nn.Module | None,
        where: str,
    ) -> Place:
        if own.dim() != other.dim() or own.dim() < 2:
            raise ConfigError(
                f'{where}.layer: student {tuple(own.shape)} and teacher '
                f'{tuple(other.shape)} differ in kind. Choose layers that both give '
                'maps (N, C, H, W), or both rows (R, C).'
            )
        paths = self.source.paths
        numbers = {
            which: level if chosen is None else chosen[level]
            for which, chosen in self.source.levels.items()
        }
        name = paths['student'] + (f'[{numbers["student"]}]' if levels > 1 else '')
        if paths['student'] != paths['teacher']:
            name += f' / {paths["teacher"]}'
        if self.source.value == 'input':
            name = f'input of {name}'
        scale_factor, stride = (1.0, 1.0), None
        if own.dim() == 4:
            if not self.source.on_rois:
                stride = round(SIDE / own.shape[-1])
            scale_factor = (
                other.shape[-2] / own.shape[-2],
                other.shape[-1] / own.shape[-1],
            )
        context = LossContext(
            level=numbers['student'],
            teacher_level=numbers['teacher'],
            stride=stride,
            teacher_norm=norm,
        )
        return Place(name, tuple(own.shape), tuple(other.shape), scale_factor, context)

    def maps(self, run: Any, which: str) -> list[Tensor]:
        source = self.source
        if source.on_rois:
            return []
        key = run_for(run, source.paths[which], None, 'maps')
        recorded = run.recorded(source.capture(which), key)
        levels = source.levels[which]
        chosen = recorded if levels is None else [recorded[level] for level in levels]
        return [run.crop(item) for item in chosen if item.dim() == 4]

    def match(self, step: Any) -> list[MatchedTensors | None]:
        found = self.source.read(step, len(self._contexts))
        if found is None:
            return [None] * len(self._contexts)
        return [
            MatchedTensors(own, other, count=float(own.shape[0]), context=context)
            for own, other, context in zip(*found, self._contexts, strict=True)
        ]
