"""Mask heads: both models draw the masks of the same RoIs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import DistillationError, located
from ...host_types import HostModule, Samples
from ...losses import LossContext
from ...recorders import Recorder, record_method
from ...registry import VIEWS
from ...teachers.class_map import ClassMap
from ..base import SIDES, MatchedTensors, TensorSpec, UnservedError, check_same_images
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, View
from .outputs import ROI_HEAD, rois_key
from .stages import (
    RoISource,
    Stage,
    StagePair,
    check_same_classes,
    pair_stages,
    stage_name,
)
from .view import check_has_labels


@dataclass
class MaskOutputs:
    """What one stage's mask head made of the RoIs that hold an object; R rows.

    Attributes:
        rois: (R, 5), image number and corners in pixels of the model's input.
        labels: (R,), the class of each RoI's object.
        logits: (R, K, H, W), or (R, 1, H, W) where the head is class-agnostic.
        images: how many images the head looked at.
    """

    rois: Tensor
    labels: Tensor
    logits: Tensor
    images: int


def mask_heads(model: nn.Module) -> list[HostModule]:
    """The mask head of each stage.

    Raises: UnservedError for a head that does not draw a mask of each RoI.
    """
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    name = type(model).__name__
    roi_head = getattr(model, ROI_HEAD, None)
    if roi_head is None or not getattr(roi_head, 'with_mask', False):
        fault = 'has no mask head'
        if (head := getattr(model, 'mask_head', None)) is not None:
            fault = f'draws masks of whole images, by a {type(head).__name__}'
        raise UnservedError(
            f"{name} {fault}: 'roi.masks' reads those of RoIs, as of MaskRCNN."
        )
    forwards = (StandardRoIHead._mask_forward, CascadeRoIHead._mask_forward)
    heads = roi_head.mask_head
    heads = list(heads) if isinstance(heads, nn.ModuleList) else [heads]
    strange = [head for head in heads if type(head) is not FCNMaskHead]
    if type(roi_head)._mask_forward not in forwards or strange:
        kind = f'{type((strange or heads)[0]).__name__} of a {type(roi_head).__name__}'
        raise UnservedError(
            f"{name} draws masks by a {kind}: 'roi.masks' knows the FCNMaskHead of a "
            'StandardRoIHead or CascadeRoIHead.'
        )
    return heads


@dataclass(frozen=True)
class MaskRecorder(Recorder[dict[int, MaskOutputs]]):
    """Masks of all stages and their RoIs, while the model computes its losses."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[dict[int, MaskOutputs]]:
        """Record within the block; yields the masks, by stage."""
        from mmdet.structures.bbox import bbox2roi

        outputs: dict[int, MaskOutputs] = {}

        def drawn(args: tuple[Any, ...], result: dict[str, Any]) -> None:
            # A cascade names its stage first; behind it come features and samples.
            stage, args = (args[0], args[1:]) if isinstance(args[0], int) else (0, args)
            features, sampled = args[:2]
            outputs[stage] = MaskOutputs(
                bbox2roi([item.pos_priors for item in sampled]),
                torch.cat([item.pos_gt_labels for item in sampled]),
                result['mask_preds'],
                len(features[0]),
            )

        with record_method(model.roi_head, 'mask_loss', drawn):
            yield outputs


def draw_masks(
    model: HostModule, stage: int, features: Sequence[Tensor], rois: Tensor
) -> Tensor:
    """Logits (R, K, H, W) of one stage's mask head on given RoIs."""
    head = model.roi_head
    cascade = isinstance(head.mask_head, nn.ModuleList)
    arguments = (stage, features, rois) if cascade else (features, rois)
    logits: Tensor = head._mask_forward(*arguments)['mask_preds']
    return logits


@VIEWS.register_module(name='roi.masks')
class RoIMasksView(View):
    """Mask logits (R, 1, H, W) of the RoIs that hold an object, of its class.

    Sigmoid: each pixel is a row. A teacher's of another size are resized. With a
    teacher's ``class_map`` they are those of its class of the same name, and RoIs of
    classes that are not shared are masked.

    Args:
        stage: of a cascade, as of :class:`~kd_plugins.views.RoILogitsView`.
        roi_source: 'student' alone: only its RoIs have labels.
    """

    def __init__(self, stage: Stage = None, roi_source: str = 'student') -> None:
        check_has_labels('roi.masks', roi_source)
        self.stage = stage

    def bind(self, probe: Probe) -> BoundView:
        heads = {}
        for side in SIDES:
            with located(f'({side})'):
                heads[side] = mask_heads(probe.model(side))
        probe.check_images('the mask head')
        stages = pair_stages(self.stage, *map(len, heads.values()))
        for stage in stages:
            classes = check_same_classes(
                heads['student'][stage.student], heads['teacher'][stage.teacher], probe
            )
        device = next(probe.student.parameters()).device
        rois = torch.tensor([[0.0, 8.0, 8.0, 72.0, 72.0]], device=device)
        specs = []
        with probe.run('student', ()) as run:
            for stage in stages:
                drawn = draw_masks(run.model, stage.student, run.features, rois)
                shape = (-1, 1, *drawn.shape[2:])
                name = stage_name('roi.masks', stage.student, len(stages))
                context = _context(stage.student)
                specs.append(TensorSpec(name, shape, shape, context=context))
        return BoundView(
            tuple(specs),
            _Masks(stages, classes).match,
            (MaskRecorder(),),
            teacher_parts=RoISource().teacher_parts,
            requires_same_classes=True,
        )


@dataclass(frozen=True)
class _Masks:
    stages: tuple[StagePair, ...]
    classes: ClassMap | None

    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        recorded = student.records[MaskRecorder()]
        if not recorded:
            raise DistillationError(
                "the student's mask head did not run while it computed its losses, so "
                "'roi.masks' has nothing to match."
            )
        return [
            # A cascade stops early when no proposal is left.
            self._match(recorded[stage.student], teacher, stage)
            if stage.student in recorded
            else None
            for stage in self.stages
        ]

    def _match(
        self, student: MaskOutputs, teacher: FrozenRun, stage: StagePair
    ) -> MatchedTensors:
        check_same_images(student.images, teacher.batch_size, 'the mask head')
        drawn = _teacher_masks(teacher, stage, student.rois)
        student_logits = _of_label(student.logits, student.labels)
        labels, shared = student.labels, torch.ones_like(student.labels)
        if self.classes is not None and drawn.shape[1] > 1:
            labels, shared = self.classes.teacher_labels(labels)
        # Both cover the RoI, but maybe in pixels of another size.
        teacher_logits = _of_label(drawn, labels)
        size = student_logits.shape[2:]
        if teacher_logits.shape != student_logits.shape:
            teacher_logits = F.interpolate(
                teacher_logits, size, mode='bilinear', align_corners=False
            )
        mask = shared.float()[:, None, None].expand(-1, *size)
        return MatchedTensors(
            student_logits,
            teacher_logits,
            None,
            mask,
            mask.sum(),
            _context(stage.student),
        )


def _context(stage: int) -> LossContext:
    return LossContext(activation='sigmoid', stage=stage)


def _teacher_masks(run: FrozenRun, stage: StagePair, rois: Tensor) -> Tensor:
    scaled = rois.detach().clone()
    scaled[:, 1:] *= run.scale
    return run.once(
        ('masks', rois_key(stage.teacher, ('student', stage.student))),
        lambda: draw_masks(run.model, stage.teacher, run.features, scaled),
        per_image=False,
    )


def _of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """The map (R, 1, H, W) of each row's class; a class-agnostic head has just one."""
    if logits.shape[1] == 1:
        return logits
    rows = torch.arange(len(labels), device=labels.device)
    return logits[rows, labels][:, None]
