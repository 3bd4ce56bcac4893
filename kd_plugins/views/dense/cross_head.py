"""Crossed heads: the teacher's head goes on from the student's own features."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...build import build_together
from ...errors import ConfigError
from ...losses import LossContext
from ...registry import VIEWS
from ..base import MatchedTensors, Place, Recorder, Shape, View
from ..heads import head_outputs
from ..layer.source import SIDES, LayerSource
from .assignment import TargetsRecorder, assigned_columns, assignment_of, by_anchor
from .crossing import TOWERS, Maps, aligned, check_towers, crossed
from .logits import check_sigmoid
from .view import BBOX_HEAD, check_same_points, dense_head


@dataclass(frozen=True)
class Crossing:
    """One step of two crossed heads.

    Attributes:
        student: what the teacher's head predicts from the student's features.
        teacher: what it predicts from its own.
        weights: (N, A) of all points or anchors, in the student's class loss.
        positives: of the student's assigner, a scalar.
    """

    student: Sequence[Maps]
    teacher: Sequence[Maps]
    weights: Tensor
    positives: Tensor


@VIEWS.register_module()
class CrossHeadView(View):
    """What the teacher's head predicts from the student's features, and from its own.

    The student's features in the middle of both towers of its head, brought to mean and
    deviation of the teacher's, go on through the teacher's remaining convolutions,
    frozen: so the student's own predictions are left to its task. Both sides are
    predictions of one head, the teacher's; it may know other classes. Rows are all
    points or anchors of all levels and images.

    Args:
        value: 'logits', (M, K), sigmoid, weighed as the student's class loss weighs
            them; or, each weighed by the teacher's highest class score there,
            'boxes', (M, 4), decoded, of RetinaNet, FCOS and ATSS;
            'distributions', (M, 4, n + 1), logits of the bins of each edge, of GFL;
            'centerness', (M, 1), logits, of FCOS and ATSS. The count is the student's
            positives, an image having one at least; of distributions the sum of the
            weights.
        layer: the convolution of the towers after which heads are crossed, before its
            activation, from 1; 0: behind the neck. The paper: 3, for FCOS 2, of 4.

    Source: Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object
        Detection, CVPR 2024, https://arxiv.org/abs/2306.11369. What is crossed is
        standardised over the batch of a process, and centerness weighed like boxes, as
        the released code does the former.
    """

    prefix = 'cross'
    values = ('logits', 'boxes', 'distributions', 'centerness')

    def __init__(self, value: str, layer: int = 3) -> None:
        if not isinstance(layer, int) or isinstance(layer, bool) or layer < 0:
            raise ConfigError(f'layer must be a whole number >= 0, got {layer!r}.')
        self.value = value
        self.layer = layer
        if layer:
            paths = [f'{BBOX_HEAD}.{name}.{layer - 1}.activate' for name in TOWERS]
        else:
            paths = [f'{BBOX_HEAD}.{TOWERS[0]}.0']  # both towers read the same
        self._sources = [
            LayerSource(path, value='input', key='view.layer') for path in paths
        ]
        self._context = LossContext(
            activation='sigmoid' if value in ('logits', 'centerness') else None
        )

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', BBOX_HEAD)

    def student_recorders(self) -> Sequence[Recorder]:
        own = [source.capture('student') for source in self._sources]
        return (*own, TargetsRecorder())

    def teacher_recorders(self) -> Sequence[Recorder]:
        return [source.capture('teacher') for source in self._sources]

    def bind(self, probe: Any, where: str) -> list[Place]:
        heads = {
            which: dense_head(getattr(probe, which), f'{where} ({which})')
            for which in SIDES
        }
        build_together(
            *(
                partial(check_towers, head, self.layer, f'{where} ({which})')
                for which, head in heads.items()
            )
        )
        check_same_points(heads['student'], heads['teacher'], probe, where)
        _check_assigns(heads['student'], f'{where} (student)')
        shape = self._shape(heads['teacher'], f'{where} (teacher)')
        for source in self._sources:
            source.find(probe, where)
        for source in self._sources:
            student, teacher = source.bind(probe, self, where)
            for own, other in zip(student, teacher, strict=True):
                self._check_width(own.shape[1], other.shape[1], where)
        name = f'cross.{self.value} after {self.layer}'
        return [Place(name, shape, shape, context=self._context)]

    def _shape(self, head: Any, where: str) -> Shape:
        """Of the rows that this head gives of the value."""
        from mmdet.models.dense_heads import GFLHead

        check_sigmoid(head, 'cross.*', where)
        if self.value == 'logits':
            return (-1, head.num_classes)
        if (self.value == 'distributions') != isinstance(head, GFLHead) or (
            self.value == 'centerness' and not hasattr(head, 'loss_centerness')
        ):
            values = ['logits', 'boxes']
            if isinstance(head, GFLHead):
                values[1] = 'distributions'
            elif hasattr(head, 'loss_centerness'):
                values.append('centerness')
            known = ', '.join(f"'cross.{value}'" for value in values)
            raise ConfigError(
                f'{where}: {type(head).__name__} predicts no {self.value}. Use one of '
                f'{known}.'
            )
        if self.value == 'distributions':
            return (-1, 4, head.reg_max + 1)
        return (-1, 4 if self.value == 'boxes' else 1)

    def _check_width(self, own: int, other: int, where: str) -> None:
        if own == other:
            return
        place = f'after convolution {self.layer} of bbox_head'
        keys = 'bbox_head.feat_channels'
        if self.layer == 0:
            place = 'behind the neck'
            keys = 'neck.out_channels and bbox_head.in_channels'
        raise ConfigError(
            f"{where}.view: the teacher's convolutions go on from the student's "
            f'features, so both must be as wide: {place} expected {other} channels, '
            f'those of the teacher, got {own}. Set {keys} to {other} in model.student, '
            'or choose a teacher of the same width.'
        )

    def match(self, step: Any) -> list[MatchedTensors | None]:
        crossing: Crossing = step.once(('cross', self.layer), lambda: self._cross(step))
        head = step.teacher.model.bbox_head
        weights, positives = crossing.weights.flatten(), crossing.positives
        with torch.no_grad():
            scores = _rows(crossing.teacher[0], head.cls_out_channels)
            confidence = scores.float().sigmoid().amax(dim=2).flatten()
            confidence = torch.where(weights > 0, confidence, 0.0)
        if self.value == 'logits':
            mask, count = weights, positives
        else:
            mask, count = confidence, positives
            if self.value == 'distributions':
                count = mask.sum()
        own = self._read(head, crossing.student)
        other = self._read(head, crossing.teacher)
        return [MatchedTensors(own, other, None, mask, count, self._context)]

    def _cross(self, step: Any) -> Crossing:
        run = step.teacher
        head = run.model.bbox_head
        levels = len(head.prior_generator.strides)
        features: list[list[Tensor]] = []
        for source in self._sources:
            found = source.read(step, levels)
            assert found is not None  # heads of images run at every step
            features.append([aligned(*both) for both in zip(*found, strict=True)])
        (answer,) = head_outputs(run, BBOX_HEAD)
        teacher = [[run.crop(item) for item in maps] for maps in answer]
        student = crossed(head, self.layer, features)
        assignment = assignment_of(step, f'cross.{self.value}')
        return Crossing(student, teacher, assignment.label_weights, assignment.count)

    def _read(self, head: Any, outputs: Sequence[Maps]) -> Tensor:
        """Rows (M, ...) of the value, of what a head predicts."""
        if self.value == 'logits':
            return _rows(outputs[0], head.cls_out_channels).flatten(0, 1)
        if self.value == 'centerness':
            return _rows(outputs[2], 1).flatten(0, 1)
        if self.value == 'boxes':
            return _boxes(head, outputs[1])
        bins = head.reg_max + 1
        return _rows(outputs[1], 4 * bins).view(-1, 4, bins)


def _check_assigns(head: Any, where: str) -> None:
    """Refuse a student's head of which nobody knows how its loss weighs its points."""
    if assigned_columns(head) is None:
        raise ConfigError(
            f'{where}: cross.* weighs points as the class loss of the student does, of '
            'RetinaHead, ATSSHead, GFLHead or FCOSHead; bbox_head is a '
            f"{type(head).__name__}, which has its own. Use 'head.logits', or a "
            "'layer' pair."
        )


def _rows(maps: Maps, columns: int) -> Tensor:
    """Maps (N, A columns, H, W) a level as (N, anchors, columns), as in the host."""
    return torch.cat(by_anchor(maps, columns), dim=1)


def _boxes(head: Any, maps: Maps) -> Tensor:
    """Boxes (M, 4) in pixels, of what a head says at its points or anchors."""
    rows = _rows(maps, 4).float()
    priors = head.prior_generator.grid_priors(
        [item.shape[2:] for item in maps], dtype=rows.dtype, device=rows.device
    )
    boxes = head.bbox_coder.decode(
        torch.cat(priors).repeat(len(rows), 1), rows.flatten(0, 1)
    )
    decoded: Tensor = getattr(boxes, 'tensor', boxes)
    return decoded
