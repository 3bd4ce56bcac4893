"""Mask heads: both models draw the masks of the same RoIs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError, DistillationError
from ...losses import LossContext
from ...recorders import record_method
from ...teachers.class_map import ClassMap
from ..base import MatchedTensors, Place, Recorder, View
from ..run import ModelRun
from .outputs import rois_key


@dataclass
class MaskOutputs:
    """What one stage's mask head made of the RoIs that hold an object; R rows.

    Attributes:
        rois: (R, 5), image number and corners in pixels of the model's input.
        labels: (R,), the class of each RoI's object.
        logits: (R, K, H, W), or (R, 1, H, W) where the head is class-agnostic.
    """

    rois: Tensor
    labels: Tensor
    logits: Tensor


def mask_stages(model: Any, where: str) -> list[Any]:
    """The mask head of each stage.

    Raises: ConfigError for a model or a head that does not draw a mask of each class.
    """
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    name = type(model).__name__
    roi_head = getattr(model, 'roi_head', None)
    if roi_head is None or not getattr(roi_head, 'with_mask', False):
        raise ConfigError(
            f'{where}: {name} has no mask head. Use a model that draws masks, such as '
            'MaskRCNN, or roi.logits.'
        )
    known = (StandardRoIHead._mask_forward, CascadeRoIHead._mask_forward)
    heads = roi_head.mask_head
    heads = list(heads) if isinstance(heads, nn.ModuleList) else [heads]
    other = [head for head in heads if type(head) is not FCNMaskHead]
    if type(roi_head)._mask_forward not in known or other:
        found = f'{type((other or heads)[0]).__name__} of a {type(roi_head).__name__}'
        raise ConfigError(
            f"{where}: {name} draws masks by a {found}, in a way that 'roi.masks' does "
            'not know. Use an FCNMaskHead of a StandardRoIHead or CascadeRoIHead, or '
            'roi.logits.'
        )
    return heads


@dataclass(frozen=True)
class MaskRecorder(Recorder):
    """Masks of all stages and their RoIs, while the model computes its losses."""

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[dict[int, MaskOutputs]]:
        from mmdet.structures.bbox import bbox2roi

        captured: dict[int, MaskOutputs] = {}

        def drawn(args: tuple[Any, ...], result: dict[str, Any]) -> None:
            # A cascade names its stage first; behind it come features and samples.
            stage, args = (args[0], args[1:]) if isinstance(args[0], int) else (0, args)
            sampled = args[1]
            captured[stage] = MaskOutputs(
                bbox2roi([item.pos_priors for item in sampled]),
                torch.cat([item.pos_gt_labels for item in sampled]),
                result['mask_preds'],
            )

        with record_method(model.roi_head, 'mask_loss', drawn):
            yield captured


def draw_masks(model: Any, stage: int, features: Any, rois: Tensor) -> Tensor:
    """Logits (R, K, H, W) of one stage's mask head on given RoIs."""
    head = model.roi_head
    cascade = isinstance(head.mask_head, nn.ModuleList)
    arguments = (stage, features, rois) if cascade else (features, rois)
    drawn: Tensor = head._mask_forward(*arguments)['mask_preds']
    return drawn


def mask_places(
    probe: Any, view: View, stages: Sequence[tuple[int, int]], where: str
) -> list[Place]:
    """What is compared at each stage: one map a RoI, of the student's size."""
    places = []
    device = next(probe.student.parameters()).device
    rois = torch.tensor([[0.0, 8.0, 8.0, 72.0, 72.0]], device=device)
    with probe.run(view, 'student', where) as run:
        for stage, _ in stages:
            size = draw_masks(run.model, stage, run.features, rois).shape[2:]
            name = 'roi.masks' + (f' stage {stage}' if len(stages) > 1 else '')
            shape = (-1, 1, *size)
            places.append(Place(name, shape, shape, context=_context(stage)))
    return places


def match_masks(
    step: Any, stages: Sequence[tuple[int, int]], classes: ClassMap | None
) -> list[MatchedTensors | None]:
    """Mask logits (R, 1, H, W) of each RoI's own class, a yes or no in every cell.

    With a class map, RoIs of a class that the teacher does not know are masked.

    Args:
        step: a :class:`~kd_plugins.views.step.Step`.
        stages: of student and teacher.
        classes: which classes they share, where they know others.

    Raises: DistillationError if the student drew no masks.
    """
    captured: dict[int, MaskOutputs] = step.captured[MaskRecorder()]
    if not captured:
        raise DistillationError(
            "the student's mask head did not run while it computed its losses, so "
            "'roi.masks' has nothing to match."
        )
    matched: list[MatchedTensors | None] = []
    for number, other in stages:
        if number not in captured:  # a cascade stops early when no proposal is left
            matched.append(None)
            continue
        own = captured[number]
        drawn = _teacher_masks(step.teacher, other, own.rois, number)
        student = _of_label(own.logits, own.labels)
        labels, known = own.labels, torch.ones_like(own.labels)
        if classes is not None and drawn.shape[1] > 1:
            labels, known = classes.teacher_labels(labels)
        # Both cover the RoI, but maybe in cells of another size.
        teacher = _of_label(drawn, labels)
        if teacher.shape != student.shape:
            teacher = F.interpolate(
                teacher, student.shape[2:], mode='bilinear', align_corners=False
            )
        mask = known.float()[:, None, None].expand(-1, *student.shape[2:])
        context = _context(number)
        matched.append(
            MatchedTensors(student, teacher, None, mask, mask.sum(), context)
        )
    return matched


def _context(stage: int) -> LossContext:
    return LossContext(activation='sigmoid', stage=stage)


def _teacher_masks(run: ModelRun, stage: int, rois: Tensor, source: int) -> Tensor:
    scaled = rois.detach().clone()
    scaled[:, 1:] *= run.scale
    masks: Tensor = run.once(
        ('masks', rois_key(stage, ('student', source))),
        lambda: draw_masks(run.model, stage, run.features, scaled),
    )
    return masks


def _of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """The map (R, 1, H, W) of each row's class; a class-agnostic head has just one."""
    if logits.shape[1] == 1:
        return logits
    rows = torch.arange(len(labels), device=labels.device)
    return logits[rows, labels][:, None]
