"""The flow between two layers of a model: how their channels go together."""

from dataclasses import dataclass

from torch import Tensor

from ...build import build_together
from ...checks import check_choice
from ...errors import ConfigError, ShapeError, located
from ...host_types import Samples
from ...losses import LossContext, flow_matrix
from ...registry import VIEWS
from ..base import SIDES, MatchedTensors, TensorSpec, UnservedError
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, View
from .source import BoundLayers, Choice, LayerSource
from .view import trains

_POOLS = ('max', 'average')


@VIEWS.register_module(name='layer.flow')
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
            LayerSource(first, key='first'),
            LayerSource(last, key='last'),
        )

    def bind(self, probe: Probe) -> BoundView:
        first, last = self.sources
        build_together(lambda: first.check(probe), lambda: last.check(probe))
        bound, tensors = [], []
        for source in self.sources:
            layers, student, teacher = source.bind(probe)
            for side, trial in zip(SIDES, (student, teacher), strict=True):
                with located(source.key):
                    _check_one_map(
                        trial.tensors, f"'{source.paths[side]}' of the {side}"
                    )
            bound.append(layers)
            tensors.append((student.tensors[0], teacher.tensors[0]))
        if bound[0].on_rois != bound[1].on_rois:
            raise ConfigError(
                f"first is '{bound[0].teacher.path}', last '{bound[1].teacher.path}': "
                'one of them gives maps of RoIs, the other of images. Choose both '
                'inside the roi_head, or both outside.'
            )
        of_student = [student for student, _ in tensors]
        if trains(probe.student) and not any(item.requires_grad for item in of_student):
            raise UnservedError(
                f"neither '{bound[0].student.path}' nor '{bound[1].student.path}' of "
                'the student trains: all parameters before them are frozen '
                '(frozen_stages, requires_grad). Choose a later layer as the last.'
            )
        flow = _Flow(bound[0], bound[1], self.pool)
        try:
            shapes = [
                tuple(flow.between(start, end).shape)
                for start, end in zip(*tensors, strict=True)
            ]
        except ShapeError as error:
            raise UnservedError(str(error)) from error
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f'the flow of the student has {" x ".join(map(str, shapes[0][1:]))} '
                'channels, that of the teacher '
                f'{" x ".join(map(str, shapes[1][1:]))}. Choose layers of as many '
                "channels in both models, such as 'neck.fpn_convs.0' of their FPNs."
            )
        names = ' to '.join(layers.student.path for layers in bound)
        return BoundView(
            (TensorSpec(f'flow {names}', shapes[0], shapes[1]),),
            flow.match,
            tuple(item for layers in bound for item in layers.student_recorders),
            tuple(layers.teacher.recorder for layers in bound),
            tuple(part for layers in bound for part in layers.teacher_parts),
        )


@dataclass(frozen=True)
class _Flow:
    first: BoundLayers
    last: BoundLayers
    pool: str

    def between(self, first: Tensor, last: Tensor) -> Tensor:
        return flow_matrix(first, last, pool=self.pool)

    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        first = self.first.read(student, teacher)
        last = self.last.read(student, teacher)
        if first is None or last is None:
            return [None]
        of_student, of_teacher = (
            self.between(start, end)
            for (start,), (end,) in zip(first, last, strict=True)
        )
        count = float(len(of_student))
        return [
            MatchedTensors(of_student, of_teacher, count=count, context=LossContext())
        ]


def _check_one_map(maps: list[Tensor], what: str) -> None:
    if len(maps) != 1 or maps[0].dim() != 4:
        sizes = ', '.join(str(tuple(item.shape)) for item in maps)
        raise ConfigError(
            f'{what} gives {sizes}; a flow runs between single maps (N, C, H, W). '
            "Choose a layer that gives one, such as 'backbone.layer2' or "
            "'neck.fpn_convs.0'."
        )
