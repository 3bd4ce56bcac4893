"""One-stage heads: both models at the same points or anchors, level by level."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DistillationError
from ..losses import LossContext
from ..registry import VIEWS
from ..teachers.class_map import ClassMap
from .base import Capture, Matched, Place, View
from .distributions import (
    REGIONS,
    TargetsCapture,
    distribution_place,
    match_distributions,
)
from .heads import head_outputs
from .priors import check_priors

BBOX_HEAD = 'bbox_head'


@dataclass(frozen=True)
class DenseCapture(Capture):
    """What a one-stage head gives, while the model computes its losses."""

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[list[Any]]:
        outputs: list[Any] = []

        def answered(module: nn.Module, args: Any, output: Any) -> None:
            outputs.append(output)

        handle = dense_head(model, 'pairs').register_forward_hook(answered)
        try:
            yield outputs
        finally:
            handle.remove()


def dense_head(model: Any, where: str) -> Any:
    """The head of a one-stage detector.

    Raises: ConfigError if there is none, or one of another kind.
    """
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    head = getattr(model, BBOX_HEAD, None)
    if not isinstance(head, BaseDenseHead) or not hasattr(head, 'prior_generator'):
        found = 'no bbox_head' if head is None else f'a {type(head).__name__}'
        raise ConfigError(
            f'{where}: {type(model).__name__} has {found}; views of one-stage heads '
            'need one with points or anchors on a grid, such as FCOSHead, RetinaHead '
            "or GFLHead. Use a 'layer' pair."
        )
    return head


@VIEWS.register_module()
class DenseHeadView(View):
    """Class logits, or box distributions, at the same points or anchors.

    Of logits, each level of the FPN is by itself, and points outside the image, on its
    padding, are masked; with a teacher's ``class_map`` K counts the shared classes.
    Distributions are rows of all levels and images.

    Args:
        value: 'logits', (N A, K, H, W) a level, sigmoid: of A anchors at a point; or
            'distributions', (M, 4, n + 1), logits of the bins of each edge, of GFL and
            LD heads. Their mask holds what a row weighs, between 0 and 1, and their
            count is its sum.
        region: of distributions, the rows that are kept. 'main', the default: the
            student's positives, each weighed by its highest class score, as the host
            weighs their own loss. 'vlr': the valuable localization region, by overlap;
            see :func:`~kd_plugins.views.localization_region.valuable_region`.

    Source: of the regions, Zheng et al., Localization Distillation for Object
        Detection, CVPR 2022, https://arxiv.org/abs/2102.12252.
    """

    prefix = 'head'
    values = ('logits', 'distributions')

    def __init__(self, value: str, region: str | None = None) -> None:
        if value != 'distributions' and region is not None:
            raise ConfigError(
                f"region='{region}' chooses among distributions; head.{value} has all "
                "points. Remove it, or use value='distributions'."
            )
        if region is not None and region not in REGIONS:
            raise ConfigError(f"region must be 'main' or 'vlr', got '{region}'.")
        self.value = value
        self.region = region or 'main'
        self._contexts: list[LossContext] = []
        self._classes: ClassMap | None = None

    def bind(self, probe: Any, where: str) -> list[Place]:
        student = dense_head(probe.student, f'{where} (student)')
        teacher = dense_head(probe.teacher, f'{where} (teacher)')
        if probe.scale != 1:
            raise ConfigError(
                f"{where}: teacher '{probe.teacher_name}' sees its input scaled by "
                f'{probe.scale}, so that its points are not those of the student. '
                'Remove input_scale, or distil layers only.'
            )
        check_priors(student, teacher, 'strides and anchors of bbox_head', where)
        if self.value == 'distributions':
            return [distribution_place(student, teacher, where)]
        return self._bind_logits(student, teacher, probe, where)

    def _bind_logits(
        self, student: Any, teacher: Any, probe: Any, where: str
    ) -> list[Place]:
        shapes: dict[str, list[Any]] = {}
        for which, head in (('student', student), ('teacher', teacher)):
            if getattr(head.loss_cls, 'activated', False):
                raise ConfigError(
                    f'{where} ({which}): {type(head).__name__} gives probabilities, '
                    "not logits. Use a 'layer' pair."
                )
            if getattr(head, 'cls_out_channels', None) != head.num_classes:
                raise ConfigError(
                    f'{where} ({which}): {type(head).__name__} does not train its '
                    'classes by a sigmoid each, as head.logits reads them. Set '
                    "use_sigmoid=True in bbox_head.loss_cls, or use a 'layer' pair."
                )
            with probe.run(self, which, where) as run:
                (output,) = head_outputs(run, BBOX_HEAD)
                shapes[which] = [
                    tuple(item.shape) for item in _logits(head, output, where)
                ]
        self._classes = probe.class_map
        if self._classes is not None:
            numbers = (student.num_classes, teacher.num_classes)
            self._classes.check_numbers(*numbers, where)
            for which, found in shapes.items():
                number = len(self._classes.shared)
                shapes[which] = [(item[0], number, *item[2:]) for item in found]
        elif student.num_classes != teacher.num_classes:
            raise ConfigError(
                f'{where}: the student scores {student.num_classes} classes, the '
                f'teacher {teacher.num_classes}. Choose a teacher of the same classes, '
                'or name those of both in its class_map.'
            )
        self._contexts = [
            LossContext(activation='sigmoid', level=level, stride=int(stride[0]))
            for level, stride in enumerate(student.prior_generator.strides)
        ]
        return [
            Place(f'head.logits[{context.level}]', own, other, context=context)
            for context, own, other in zip(
                self._contexts, shapes['student'], shapes['teacher'], strict=True
            )
        ]

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', BBOX_HEAD)

    @property
    def same_classes(self) -> bool:
        return self.value == 'logits'  # boxes are those of any class

    def student_captures(self) -> Sequence[Capture]:
        if self.value == 'distributions':
            return (DenseCapture(), TargetsCapture())
        return (DenseCapture(),)

    def match(self, step: Any) -> list[Matched | None]:
        outputs: list[Any] = step.captured[DenseCapture()]
        if not outputs:
            raise DistillationError(
                "the student's bbox_head did not run while it computed its losses, so "
                f"'head.{self.value}' has nothing to match."
            )
        head = dense_head(step.student, 'pairs')
        run = step.teacher
        (answer,) = head_outputs(run, BBOX_HEAD)
        if self.value == 'distributions':
            return [
                match_distributions(
                    self.region,
                    head,
                    outputs[-1],
                    [run.crop(item) for item in answer[1]],
                    step.captured[TargetsCapture()],
                    step.data_samples,
                )
            ]
        matched: list[Matched | None] = []
        for context, own, other in zip(
            self._contexts,
            _logits(head, outputs[-1], 'pairs'),
            _logits(dense_head(run.model, 'pairs'), answer, 'pairs'),
            strict=True,
        ):
            assert context.level is not None
            if self._classes is not None:
                own = self._classes.of_student(own)
                other = self._classes.of_teacher(other)
            mask = _inside(step.data_samples, own, head, context.level)
            matched.append(
                Matched(own, run.crop(other), None, mask, mask.sum(), context)
            )
        return matched


def _logits(head: Any, output: Any, where: str) -> list[Tensor]:
    """Class logits (N A, K, H, W) a level, of what a head gives."""
    maps = output[0]
    anchors = head.prior_generator.num_base_priors
    anchors = anchors[0] if isinstance(anchors, (list, tuple)) else anchors
    columns = head.cls_out_channels
    if not all(
        isinstance(item, Tensor) and item.shape[1] == anchors * columns for item in maps
    ):
        raise ConfigError(
            f'{where}: {type(head).__name__} does not give class logits of '
            f"{anchors} x {columns} channels first. Use a 'layer' pair."
        )
    return [item.reshape(-1, columns, *item.shape[2:]) for item in maps]


def _inside(
    data_samples: Sequence[Any], logits: Tensor, head: Any, level: int
) -> Tensor:
    """Mask (N A, H, W) of the points, or centres of anchors, that lie in the image."""
    generator = head.prior_generator
    offset = getattr(generator, 'offset', getattr(generator, 'center_offset', 0.5))
    strides = generator.strides[level]  # of columns, of rows
    ends = torch.tensor(
        [sample.metainfo['img_shape'][:2] for sample in data_samples],
        dtype=torch.float32,
    ).to(logits.device, non_blocking=True)
    rows, columns = (
        (torch.arange(side, device=logits.device) + offset) * stride
        for side, stride in zip(logits.shape[2:], reversed(strides), strict=True)
    )
    inside = (rows[None, :, None] < ends[:, :1, None]) & (
        columns[None, None] < ends[:, 1:, None]
    )
    anchors = len(logits) // len(data_samples)
    mask: Tensor = inside.float().repeat_interleave(anchors, dim=0)
    return mask
