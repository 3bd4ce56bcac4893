"""Transformers: what their encoders make of the features, as maps again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, DistillationError
from ...losses import LossContext
from ...recorders import record_method
from ...registry import VIEWS
from ..base import MatchedTensors, Place, Recorder, Shape, View
from ..layer.source import chosen_levels, read_levels
from ..probe import SIDE
from ..run import ModelRun
from .queries import is_transformer


@dataclass(frozen=True)
class EncoderRecorder(Recorder):
    """The memory of the encoder, while the model computes its losses."""

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[list[list[Tensor]]]:
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


@dataclass
class Memory:
    """What the encoder of a frozen transformer gives, level by level.

    Attributes:
        maps: (N, C, H, W) a level.
        masks: (N, 1, H, W) a level, 1 on the image and 0 on its padding.
    """

    maps: list[Tensor]
    masks: list[Tensor]


def run_encoder(run: ModelRun, image_sizes: Sequence[tuple[int, int]]) -> Memory:
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


@VIEWS.register_module()
class EncoderView(View):
    """Memory of the encoders of two transformers, such as DETR, Deformable DETR, DINO.

    Maps (N, C, H, W), as many as the encoder reads; tokens on the padding are masked.
    The teacher runs as far as its encoder. What decoders make of the memory is left
    out: queries of the student are not those of the teacher.

    Args:
        value: 'memory'.
        levels: which levels, from 0; a list for both, or ``dict(student=, teacher=)``.
            Default: all.
    """

    prefix = 'encoder'
    values = ('memory',)

    def __init__(
        self, value: str, levels: Sequence[int] | dict[str, Any] | None = None
    ) -> None:
        self.value = value
        self.levels = read_levels(levels)
        self._contexts: list[LossContext] = []

    def bind(self, probe: Any, where: str) -> list[Place]:
        found = {}
        for which in ('student', 'teacher'):
            model = getattr(probe, which)
            if not is_transformer(model):
                raise ConfigError(
                    f'{where} ({which}): {type(model).__name__} has no encoder of a '
                    'transformer, as encoder.memory reads it of DETR, DeformableDETR '
                    "or DINO. Use a 'layer' pair, such as layer='neck'."
                )
            with probe.run(self, which, where) as run:
                maps = run_encoder(run, [(SIDE, SIDE)]).maps
            what = f'{where}.view.levels: encoder.memory of the {which}'
            found[which] = chosen_levels(maps, self.levels[which], what)
        student, teacher = found['student'], found['teacher']
        if len(student) != len(teacher):
            raise ConfigError(
                f'{where}.view.levels: the memory of the student has {len(student)} '
                f'levels, that of the teacher {len(teacher)}. Choose as many of both: '
                "view=dict(type='EncoderView', value='memory', "
                'levels=dict(student=[...], teacher=[...])).'
            )
        numbers = self.levels['student'] or range(len(student))
        self._contexts = [
            LossContext(level=number, stride=round(SIDE / own.shape[-1]))
            for number, own in zip(numbers, student, strict=True)
        ]
        return [
            _place(context, tuple(own.shape), tuple(other.shape))
            for context, own, other in zip(
                self._contexts, student, teacher, strict=True
            )
        ]

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', 'encoder')

    def student_recorders(self) -> Sequence[Recorder]:
        return (EncoderRecorder(),)

    def match(self, step: Any) -> list[MatchedTensors | None]:
        memories: list[list[Tensor]] = step.captured[EncoderRecorder()]
        if not memories:
            raise DistillationError(
                "the student's encoder did not run while it computed its losses, so "
                "'encoder.memory' has nothing to match."
            )
        run = step.teacher
        sizes = [sample.metainfo['img_shape'][:2] for sample in step.data_samples]
        answer = run_encoder(run, sizes)
        own, other, masks = (
            chosen_levels(maps, self.levels[which], 'pairs: encoder.memory')
            for which, maps in (
                ('student', memories[-1]),
                ('teacher', [run.crop(item) for item in answer.maps]),
                ('teacher', [run.crop(item)[:, 0] for item in answer.masks]),
            )
        )
        return [
            MatchedTensors(student, teacher, None, mask, mask.sum(), context)
            for student, teacher, mask, context in zip(
                own, other, masks, self._contexts, strict=True
            )
        ]


def _place(context: LossContext, own: Shape, other: Shape) -> Place:
    scale_factor = (other[2] / own[2], other[3] / own[3])
    return Place(f'encoder.memory[{context.level}]', own, other, scale_factor, context)
