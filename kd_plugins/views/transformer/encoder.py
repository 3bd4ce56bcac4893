"""Transformers: what their encoders make of the features, as maps again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import ConfigError, DistillationError
from ...host_types import Samples
from ...losses import LossContext
from ...recorders import Recorder, record_method
from ...registry import VIEWS
from ..base import SIDES, MatchedTensors, Side, TensorSpec, UnservedError
from ..layer.levels import Levels, chosen_levels, read_levels
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, View
from .queries import is_transformer


@dataclass(frozen=True)
class EncoderRecorder(Recorder[list[list[Tensor]]]):
    """The memory of the encoder, while the model computes its losses."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[list[list[Tensor]]]:
        """Record within the block; yields the memories, call by call."""
        entered: list[Sequence[Tensor]] = []
        memories: list[list[Tensor]] = []

        def flattened(args: tuple[Any, ...], result: Any) -> None:
            entered.append(args[0])

        def encoded(args: tuple[Any, ...], result: dict[str, Any]) -> None:
            memories.append(_as_maps(result['memory'], entered[-1]))

        with (
            record_method(model, 'pre_transformer', flattened),
            record_method(model, 'forward_encoder', encoded),
        ):
            yield memories


class Memory(NamedTuple):
    """What the encoder of a frozen transformer gives, level by level.

    Attributes:
        maps: (N, C, H, W) a level.
        masks: (N, 1, H, W) a level, 1 on the image and 0 on its padding.
    """

    maps: list[Tensor]
    masks: list[Tensor]


def run_encoder(run: FrozenRun, image_sizes: Sequence[tuple[int, int]]) -> Memory:
    """Memory of a frozen transformer, at most once; its decoder does not run.

    Args:
        run: its features computed.
        image_sizes: height and width of each image, in pixels of the student's input,
            without padding.
    """
    from mmdet.structures import DetDataSample

    def compute() -> Memory:
        samples = [
            DetDataSample(
                metainfo=dict(
                    batch_input_shape=run.input_size,
                    img_shape=tuple(round(side * run.scale) for side in size),
                )
            )
            for size in image_sizes
        ]
        entered, _ = run.model.pre_transformer(run.features, samples)
        memory = run.model.forward_encoder(**entered)['memory']
        inside = torch.ones_like(memory[..., :1])
        if entered['feat_mask'] is not None:  # there is padding
            inside = (~entered['feat_mask'])[..., None].to(memory)
        maps, masks = (_as_maps(rows, run.features) for rows in (memory, inside))
        return Memory(maps, masks)

    return run.once('encoder memory', compute)


def _as_maps(rows: Tensor, features: Sequence[Tensor]) -> list[Tensor]:
    """Rows (N, P, C) as the maps that they were flattened from."""
    sizes = [feature.shape[2:] for feature in features]
    if rows.shape[1] == sizes[-1].numel():  # of one level, which is the last
        sizes = sizes[-1:]
    levels = rows.split([size.numel() for size in sizes], dim=1)
    return [
        level.transpose(1, 2).unflatten(2, tuple(size))
        for level, size in zip(levels, sizes, strict=True)
    ]


@VIEWS.register_module(name='encoder.memory')
class EncoderMemoryView(View):
    """Memory of the encoders of two transformers, such as DETR, Deformable DETR, DINO.

    Maps (N, C, H, W), as many as the encoder reads; tokens on the padding are masked.
    The teacher runs as far as its encoder. What decoders make of the memory is left
    out: queries of the student are not those of the teacher.

    Args:
        levels: which levels, from 0; a list for both, or ``dict(student=, teacher=)``.
            Default: all.
    """

    def __init__(self, levels: Sequence[int] | dict[str, Any] | None = None) -> None:
        self.levels = read_levels(levels)

    def bind(self, probe: Probe) -> BoundView:
        maps = {
            side: chosen_levels(
                memory, self.levels[side], f'encoder.memory of the {side}'
            )
            for side, memory in _encoded(probe).items()
        }
        student, teacher = maps['student'], maps['teacher']
        if len(student) != len(teacher):
            raise ConfigError(
                f'the memory of the student has {len(student)} levels, that of the '
                f'teacher {len(teacher)}. Choose as many of both: view='
                "dict(type='encoder.memory', levels=dict(student=[...], "
                'teacher=[...])).',
                key='levels',
            )
        numbers = (self.levels[side] or range(len(maps[side])) for side in SIDES)
        specs = tuple(
            _spec(*level) for level in zip(*numbers, student, teacher, strict=True)
        )
        return BoundView(
            specs,
            _Memories(self.levels, tuple(spec.context for spec in specs)).match,
            (EncoderRecorder(),),
            teacher_parts=('neck', 'encoder'),
        )

    def maps_of(self, probe: Probe) -> dict[Side, list[Tensor]]:
        return {} if any(self.levels.values()) else _encoded(probe)


def _encoded(probe: Probe) -> dict[Side, list[Tensor]]:
    """What the encoder of each model gives for a black image."""
    maps: dict[Side, list[Tensor]] = {}
    for side in SIDES:
        model = probe.model(side)
        if not is_transformer(model):
            raise UnservedError(
                f'{type(model).__name__} has no encoder of a transformer, as '
                'encoder.memory reads it of DETR, DeformableDETR or DINO.',
                key=f'({side})',
            )
        with probe.run(side, ()) as run:
            maps[side] = run_encoder(run, [probe.size]).maps
    return maps


@dataclass(frozen=True)
class _Memories:
    levels: Levels
    contexts: tuple[LossContext, ...]

    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        memories = student.records[EncoderRecorder()]
        if not memories:
            raise DistillationError(
                "the student's encoder did not run while it computed its losses, so "
                "'encoder.memory' has nothing to match."
            )
        sizes = [sample.metainfo['img_shape'][:2] for sample in samples]
        memory = run_encoder(teacher, sizes)
        return [
            MatchedTensors(of_student, of_teacher, None, mask, mask.sum(), context)
            for of_student, of_teacher, mask, context in zip(
                self._choose(memories[-1], 'student'),
                self._choose([teacher.crop(item) for item in memory.maps], 'teacher'),
                self._choose(
                    [teacher.crop(item)[:, 0] for item in memory.masks], 'teacher'
                ),
                self.contexts,
                strict=True,
            )
        ]

    def _choose(self, maps: Sequence[Tensor], side: Side) -> list[Tensor]:
        return chosen_levels(maps, self.levels[side], 'encoder.memory')


def _spec(
    level: int, teacher_level: int, student: Tensor, teacher: Tensor
) -> TensorSpec:
    return TensorSpec(
        f'encoder.memory[{level}]',
        tuple(student.shape),
        tuple(teacher.shape),
        (
            teacher.shape[2] / student.shape[2],
            teacher.shape[3] / student.shape[3],
        ),
        LossContext(level=level, teacher_level=teacher_level),
    )
