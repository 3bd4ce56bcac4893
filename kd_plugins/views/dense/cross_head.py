"""Crossed heads: the teacher's head goes on from the student's own features."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...build import build_together
from ...checks import check_int
from ...errors import ConfigError, located
from ...host_types import HostModule, Samples
from ...losses import LossContext
from ...registry import VIEWS
from ..anchors import Maps, by_anchor
from ..base import SIDES, MatchedTensors, Shape, Side, TensorSpec, UnservedError
from ..layer.source import BoundLayers, LayerSource
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, View
from .assignment import BBOX_HEAD, TargetsRecorder, assigned_columns, assignment_of
from .crossing import TOWERS, aligned, check_towers, crossed
from .heads import check_same_points, dense_heads, teacher_outputs
from .logits import check_sigmoid


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


class CrossHeadView(View):
    """What the teacher's head predicts from the student's features, and from its own.

    The student's features in the middle of both towers of its head, brought to mean and
    deviation of the teacher's, go on through the teacher's remaining convolutions,
    frozen: so the student's own predictions are left to its task. Both sides are
    predictions of one head, the teacher's; it may know other classes. Rows are all
    points or anchors of all levels and images.

    Args:
        layer: the convolution of the towers after which heads are crossed, before its
            activation, from 1; 0: behind the neck. The paper: 3, for FCOS 2, of 4.

    Source: Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object
        Detection, CVPR 2024, https://arxiv.org/abs/2306.11369. What is crossed is
        standardised over the batch of a process, and centerness weighed like boxes, as
        the released code does the former.
    """

    name: ClassVar[str]
    activation: ClassVar[Literal['sigmoid'] | None] = None

    def __init__(self, layer: int = 3) -> None:
        self.layer = check_int('layer', layer, minimum=0)
        if layer:
            paths = [f'{BBOX_HEAD}.{name}.{layer - 1}.activate' for name in TOWERS]
        else:
            paths = [f'{BBOX_HEAD}.{TOWERS[0]}.0']  # both towers read the same
        self.sources = [LayerSource(path, value='input') for path in paths]

    def bind(self, probe: Probe) -> BoundView:
        heads = dense_heads(probe)
        build_together(*(partial(self._check, heads[side], side) for side in SIDES))
        with located('(student)'):
            _check_assigns(heads['student'])
        with located('(teacher)'):
            check_sigmoid(heads['teacher'], self.name)
            shape = self.shape(heads['teacher'])
        check_same_points(heads['student'], heads['teacher'], probe)
        for source in self.sources:
            source.check(probe)
        towers = []
        for source in self.sources:
            layers, student, teacher = source.bind(probe)
            pairs = zip(student.tensors, teacher.tensors, strict=True)
            for student_tensor, teacher_tensor in pairs:
                self._check_width(student_tensor.shape[1], teacher_tensor.shape[1])
            towers.append(layers)
        context = LossContext(activation=self.activation)
        spec = TensorSpec(
            f'{self.name} after {self.layer}', shape, shape, context=context
        )
        return BoundView(
            (spec,),
            _Crossed(self, tuple(towers), context).match,
            (*(tower.student.recorder for tower in towers), TargetsRecorder()),
            tuple(tower.teacher.recorder for tower in towers),
            ('neck', BBOX_HEAD),
        )

    def _check(self, head: HostModule, side: Side) -> None:
        with located(f'({side})'):
            check_towers(head, self.layer)

    def _check_width(self, student: int, teacher: int) -> None:
        if student == teacher:
            return
        position = f'after convolution {self.layer} of bbox_head'
        keys = 'bbox_head.feat_channels'
        if self.layer == 0:
            position = 'behind the neck'
            keys = 'neck.out_channels and bbox_head.in_channels'
        raise ConfigError(
            "the teacher's convolutions go on from the student's features, so both "
            f'must be as wide: {position} expected {teacher} channels, those of the '
            f'teacher, got {student}. Set {keys} to {teacher} in model.student, or '
            'choose a teacher of the same width.'
        )

    @abstractmethod
    def shape(self, head: HostModule) -> Shape:
        """Of the rows that this head gives.

        Raises: ConfigError for a head that predicts no such thing.
        """

    @abstractmethod
    def rows(self, head: HostModule, outputs: Sequence[Maps]) -> Tensor:
        """Rows (M, ...), of what a head predicts."""

    def weights(self, crossing: Crossing, confidence: Tensor) -> tuple[Tensor, Tensor]:
        """What each row weighs (M,), and the count that the mean is over.

        Args:
            crossing: of this step.
            confidence: (M,), the teacher's highest class score there.
        """
        return confidence, crossing.positives


@VIEWS.register_module(name='cross.logits')
class CrossLogitsView(CrossHeadView):
    """Class logits (M, K), sigmoid, weighed as the student's class loss weighs them.

    The count is the student's positives, an image having one at least. See
    :class:`CrossHeadView` for the rest.
    """

    name = 'cross.logits'
    activation = 'sigmoid'

    def shape(self, head: HostModule) -> Shape:
        return (-1, head.num_classes)

    def rows(self, head: HostModule, outputs: Sequence[Maps]) -> Tensor:
        return _rows(outputs[0], head.cls_out_channels).flatten(0, 1)

    def weights(self, crossing: Crossing, confidence: Tensor) -> tuple[Tensor, Tensor]:
        return crossing.weights.flatten(), crossing.positives


@VIEWS.register_module(name='cross.boxes')
class CrossBoxesView(CrossHeadView):
    """Boxes (M, 4) in pixels, of RetinaNet, FCOS and ATSS.

    Each weighed by the teacher's highest class score there; the count is the student's
    positives. See :class:`CrossHeadView` for the rest.
    """

    name = 'cross.boxes'

    def shape(self, head: HostModule) -> Shape:
        _check_predicts(head, 'boxes')
        return (-1, 4)

    def rows(self, head: HostModule, outputs: Sequence[Maps]) -> Tensor:
        return _boxes(head, outputs[1])


@VIEWS.register_module(name='cross.distributions')
class CrossDistributionsView(CrossHeadView):
    """Logits of the bins of each edge (M, 4, n + 1), of GFL.

    Each weighed by the teacher's highest class score there; the count is the sum of the
    weights. See :class:`CrossHeadView` for the rest.
    """

    name = 'cross.distributions'

    def shape(self, head: HostModule) -> Shape:
        _check_predicts(head, 'distributions')
        return (-1, 4, head.reg_max + 1)

    def rows(self, head: HostModule, outputs: Sequence[Maps]) -> Tensor:
        bins = head.reg_max + 1
        return _rows(outputs[1], 4 * bins).view(-1, 4, bins)

    def weights(self, crossing: Crossing, confidence: Tensor) -> tuple[Tensor, Tensor]:
        return confidence, confidence.sum()


@VIEWS.register_module(name='cross.centerness')
class CrossCenternessView(CrossHeadView):
    """Logits (M, 1) of the centerness, of FCOS and ATSS.

    Weighed as :class:`CrossBoxesView`. See :class:`CrossHeadView` for the rest.
    """

    name = 'cross.centerness'
    activation = 'sigmoid'

    def shape(self, head: HostModule) -> Shape:
        _check_predicts(head, 'centerness')
        return (-1, 1)

    def rows(self, head: HostModule, outputs: Sequence[Maps]) -> Tensor:
        return _rows(outputs[2], 1).flatten(0, 1)


@dataclass(frozen=True)
class _Crossed:
    view: CrossHeadView
    towers: tuple[BoundLayers, ...]
    context: LossContext

    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        crossing = student.once(
            ('cross', self.view.layer, teacher),
            lambda: self._cross(student, teacher, samples),
        )
        head = teacher.model.bbox_head
        counted = crossing.weights.flatten()
        with torch.no_grad():
            scores = _rows(crossing.teacher[0], head.cls_out_channels)
            confidence = scores.float().sigmoid().amax(dim=2).flatten()
            confidence = torch.where(counted > 0, confidence, 0.0)
        mask, count = self.view.weights(crossing, confidence)
        return [
            MatchedTensors(
                self.view.rows(head, crossing.student),
                self.view.rows(head, crossing.teacher),
                None,
                mask,
                count,
                self.context,
            )
        ]

    def _cross(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> Crossing:
        features: list[list[Tensor]] = []
        for tower in self.towers:
            tensors = tower.read(student, teacher)
            assert tensors is not None  # heads of images run at every step
            features.append([aligned(*both) for both in zip(*tensors, strict=True)])
        frozen = [
            [teacher.crop(item) for item in maps] for maps in teacher_outputs(teacher)
        ]
        # A gradient passes through it to the student.
        outputs = crossed(teacher.exact.bbox_head, self.view.layer, features)
        assignment = assignment_of(student, samples, self.view.name)
        return Crossing(outputs, frozen, assignment.label_weights, assignment.count)


def _check_predicts(head: HostModule, value: str) -> None:
    """Refuse a head that does not predict boxes, distributions or centerness."""
    from mmdet.models.dense_heads import GFLHead

    values = ['logits', 'boxes']
    if isinstance(head, GFLHead):
        values[1] = 'distributions'
    elif hasattr(head, 'loss_centerness'):
        values.append('centerness')
    if value not in values:
        names = ' and '.join([', '.join(values[:-1]), values[-1]])
        raise UnservedError(f'{type(head).__name__} predicts no {value}, but {names}.')


def _check_assigns(head: HostModule) -> None:
    """Refuse a student's head if it is not known how its loss weighs points."""
    if assigned_columns(head) is None:
        raise UnservedError(
            'cross.* weighs points as the class loss of the student does, of '
            'RetinaHead, ATSSHead, GFLHead or FCOSHead; bbox_head is a '
            f'{type(head).__name__}, which has its own.'
        )


def _rows(maps: Maps, columns: int) -> Tensor:
    """Maps (N, A columns, H, W) a level as (N, anchors, columns), as in the host."""
    return torch.cat(by_anchor(maps, columns), dim=1)


def _boxes(head: HostModule, maps: Maps) -> Tensor:
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
