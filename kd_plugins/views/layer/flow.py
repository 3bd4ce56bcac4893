"""The flow between two layers of a model: how their channels go together."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from ...build import build_together
from ...checks import check_choice
from ...errors import ConfigError
from ...losses import LossContext, flow_matrix
from ...registry import VIEWS
from ..base import MatchedTensors, Place, Recorder, View
from .source import Choice, LayerSource

_POOLS = ('max', 'average')


@VIEWS.register_module()
class FlowView(View):
    """Flow matrices (N, m, n) between a layer of m and a later one of n channels.

    Of each model by itself, see :func:`kd_plugins.losses.flow_matrix`: the maps of
    student and teacher may differ in size, their channels may not.

    Args:
        first: dotted name in both models, or ``dict(student=..., teacher=...)``, of a
            layer that gives one map, such as 'backbone.layer2.0' or
            'neck.fpn_convs.0'.
        last: likewise.
        pool: 'max' or 'average': how the larger of the two maps is brought to the
            smaller one's size.
    """

    def __init__(self, first: Choice, last: Choice, pool: str = 'max') -> None:
        self.pool = check_choice('pool', pool, _POOLS)
        self.sources = (
            LayerSource(first, key='view.first'),
            LayerSource(last, key='view.last'),
        )

    def teacher_parts(self) -> tuple[str, ...]:
        return tuple(part for source in self.sources for part in source.teacher_parts())

    def student_recorders(self) -> Sequence[Recorder]:
        return [item for source in self.sources for item in source.student_recorders()]

    def teacher_recorders(self) -> Sequence[Recorder]:
        return [source.capture('teacher') for source in self.sources]

    def bind(self, probe: Any, where: str) -> list[Place]:
        build_together(*(partial(item.find, probe, where) for item in self.sources))
        first, last = self.sources
        if first.on_rois != last.on_rois:
            raise ConfigError(
                f"{where}.view: first is '{first.paths['teacher']}', last "
                f"'{last.paths['teacher']}': one of them gives maps of RoIs, the other "
                'of images. Choose both inside the roi_head, or both outside.'
            )
        ends = []
        for source, key in zip(self.sources, ('first', 'last'), strict=True):
            found = source.bind(probe, self, where)
            for maps, (which, path) in zip(found, source.paths.items(), strict=True):
                _check_one_map(maps, f"{where}.view.{key}: '{path}' of the {which}")
            ends.append(found)
        shapes = [
            tuple(self._flow(start[0], end[0]).shape)
            for start, end in zip(*ends, strict=True)
        ]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f'{where}.view: the flow of the student has '
                f'{" x ".join(map(str, shapes[0][1:]))} channels, that of the teacher '
                f'{" x ".join(map(str, shapes[1][1:]))}. Choose layers of as many '
                "channels in both models, such as 'neck.fpn_convs.0' of their FPNs."
            )
        names = [source.paths['student'] for source in self.sources]
        return [Place('flow ' + ' to '.join(names), shapes[0], shapes[1])]

    def _flow(self, first: Tensor, last: Tensor) -> Tensor:
        return flow_matrix(first, last, pool=self.pool)

    def match(self, step: Any) -> list[MatchedTensors | None]:
        first, last = (source.read(step, 1) for source in self.sources)
        if first is None or last is None:
            return [None]
        student, teacher = (
            self._flow(start[0], end[0]) for start, end in zip(first, last, strict=True)
        )
        count, context = float(len(student)), LossContext()
        return [MatchedTensors(student, teacher, count=count, context=context)]


def _check_one_map(maps: Sequence[Tensor], what: str) -> None:
    if len(maps) != 1 or maps[0].dim() != 4:
        given = ', '.join(str(tuple(item.shape)) for item in maps)
        raise ConfigError(
            f'{what} gives {given}; a flow runs between single maps (N, C, H, W). '
            "Choose a layer that gives one, such as 'backbone.layer2' or "
            "'neck.fpn_convs.0'."
        )
