"""Layers by dotted name, level by level."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from ...host_types import Samples
from ...losses import LossContext
from ...registry import VIEWS
from ..base import SIDES, MatchedTensors, Side, TensorSpec, UnservedError
from ..heads import run_for
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, View
from .levels import levels_of_equal_size, shown_levels
from .source import BoundLayers, Choice, DryRun, LayerSource


@VIEWS.register_module(name='layer')
class LayerView(View):
    """What a layer of the student and a layer of the teacher give, or read.

    In a pair, ``layer='neck'`` is short for ``view=dict(type='layer', layer='neck')``.

    Args:
        layer: dotted name in both models, or ``dict(student=..., teacher=...)``. A
            layer that gives several tensors (a neck, a convolution shared over the FPN,
            a list of layers) has as many levels.
        levels: which levels, from 0; a list for both, or ``dict(student=, teacher=)``.
            Default: all. Some backbones give other maps in training than in evaluation:
            levels are those of training for the student, of evaluation for the teacher.
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

    def bind(self, probe: Probe) -> BoundView:
        layers, student, teacher = self.source.bind(probe)
        if layers.student.count != layers.teacher.count:
            raise ConfigError(
                f"student '{layers.student.path}' gives {layers.student.count} maps "
                f"{_shapes(student.tensors)}, teacher '{layers.teacher.path}' "
                f'{layers.teacher.count} {_shapes(teacher.tensors)}. Choose as many of '
                f'both: {_choice(layers, student.tensors, teacher.tensors)}.',
                key='levels',
            )
        check_trains(probe, layers, student, teacher)
        compared = zip(student.tensors, teacher.tensors, teacher.norms, strict=True)
        tensors = tuple(
            _spec(layers, number, *specimens)
            for number, specimens in enumerate(compared)
        )
        matching = _Matching(layers, tuple(spec.context for spec in tensors))
        return BoundView(
            tensors,
            matching.match,
            layers.student_recorders,
            (layers.teacher.recorder,),
            layers.teacher_parts,
            maps=None if layers.on_rois else matching.maps,
            layers={'student': layers.student, 'teacher': layers.teacher},
        )

    def maps_of(self, probe: Probe) -> dict[Side, list[Tensor]]:
        if any(self.source.levels.values()):
            return {}
        _, *trials = self.source.bind(probe)
        return dict(zip(SIDES, (trial.tensors for trial in trials), strict=True))


def check_trains(
    probe: Probe, layers: BoundLayers, student: DryRun, teacher: DryRun
) -> None:
    """Refuse a layer of the student, or levels of it, that no parameter leads to.

    Raises: ConfigError naming the levels that train; UnservedError if none does.
    """
    training = [item.requires_grad for item in student.tensors]
    # Where nothing trains, it is no student.
    if all(training) or not trains(probe.student):
        return
    name = f"'{layers.student.path}'"
    why = (
        'does not train: all parameters before it are frozen (frozen_stages, '
        'requires_grad), or the model detaches it'
    )
    if not any(training):
        raise UnservedError(f'{name} of the student {why}.', key='layer')
    numbers = [layers.student.number(index) for index in range(len(training))]
    dead = [
        number for number, alive in zip(numbers, training, strict=True) if not alive
    ]
    kept = [index for index, alive in enumerate(training) if alive]
    choice = shown_levels(
        [layers.student.number(index) for index in kept],
        [layers.teacher.number(index) for index in kept],
    )
    raise ConfigError(
        f'level {" and ".join(map(str, dead))} of {name} of the student {why}. Choose '
        f'those that train: {choice}.',
        key='levels',
    )


def trains(model: nn.Module) -> bool:
    """Whether any of its parameters does."""
    return any(parameter.requires_grad for parameter in model.parameters())


def _choice(
    layers: BoundLayers, student: Sequence[Tensor], teacher: Sequence[Tensor]
) -> str:
    """Levels of one size, where both models have such."""
    equal = levels_of_equal_size(
        [item.shape for item in student], [item.shape for item in teacher]
    )
    if not equal:
        return 'levels=dict(student=[...], teacher=[...])'
    return shown_levels(
        [layers.student.number(index) for index, _ in equal],
        [layers.teacher.number(index) for _, index in equal],
    )


def _shapes(tensors: Sequence[Tensor]) -> str:
    return ', '.join(str(tuple(item.shape)) for item in tensors)


@dataclass(frozen=True)
class _Matching:
    layers: BoundLayers
    contexts: tuple[LossContext, ...]

    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        tensors = self.layers.read(student, teacher)
        if tensors is None:
            return [None] * len(self.contexts)
        return [
            MatchedTensors(
                of_student,
                of_teacher,
                count=float(of_student.shape[0]),
                context=context,
            )
            for of_student, of_teacher, context in zip(
                *tensors, self.contexts, strict=True
            )
        ]

    def maps(self, run: FrozenRun, side: Side) -> list[Tensor]:
        layer = self.layers.student if side == 'student' else self.layers.teacher
        key = run_for(run, layer.path, None, 'maps')
        maps = layer.choose(run.recorded(layer.recorder, key))
        return [run.crop(item) for item in maps if item.dim() == 4]


def _spec(
    layers: BoundLayers,
    number: int,
    student: Tensor,
    teacher: Tensor,
    norm: nn.Module | None,
) -> TensorSpec:
    if student.dim() != teacher.dim() or student.dim() < 2:
        raise ConfigError(
            f'student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ '
            'in kind. Choose layers that both give maps (N, C, H, W), or both rows '
            '(R, C).',
            key='layer',
        )
    if student.dim() == 4 and len(student) != len(teacher):
        raise UnservedError(
            f"of one image '{layers.student.path}' of the student gives {len(student)} "
            f"maps, '{layers.teacher.path}' of the teacher {len(teacher)}: in training "
            'one of them looks at several copies of each image, as TridentNet does. '
            'Choose layers before that.',
            key='layer',
        )
    levels = [layer.number(number) for layer in (layers.student, layers.teacher)]
    name = layers.student.path
    if layers.student.count > 1:
        name += f'[{levels[0]}]'
    if layers.student.path != layers.teacher.path:
        name += f' / {layers.teacher.path}'
    if layers.student.recorder.value == 'input':
        name = f'input of {name}'
    scale_factor = (1.0, 1.0)
    if student.dim() == 4:
        scale_factor = (
            teacher.shape[-2] / student.shape[-2],
            teacher.shape[-1] / student.shape[-1],
        )
    context = LossContext(level=levels[0], teacher_level=levels[1], teacher_norm=norm)
    return TensorSpec(
        name, tuple(student.shape), tuple(teacher.shape), scale_factor, context
    )
