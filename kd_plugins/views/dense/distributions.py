"""Box distributions of one-stage heads: bins of each edge, in a region of anchors."""

from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigError
from ...host_types import HostModule, Samples
from ..anchors import Maps
from ..base import SIDES, MatchedTensors, TensorSpec, UnservedError
from .localization_region import TOPK, valuable_region

REGIONS = ('main', 'vlr')


def distributions_spec(student: HostModule, teacher: HostModule) -> TensorSpec:
    """The rows that two heads of distributions give.

    Raises: UnservedError for other heads; ConfigError for other numbers of bins.
    """
    from mmdet.models.dense_heads import GFLHead

    for side, head in zip(SIDES, (student, teacher), strict=True):
        if not isinstance(head, GFLHead):
            raise UnservedError(
                'head.distributions needs a GFLHead or LDHead, which gives a '
                'distribution for each edge of a box; bbox_head is a '
                f'{type(head).__name__}.',
                key=f'({side})',
            )
    if student.reg_max != teacher.reg_max:
        raise ConfigError(
            f'the distributions of the student have {student.reg_max + 1} bins, those '
            f'of the teacher {teacher.reg_max + 1}. Set the same reg_max in both '
            'bbox_head.'
        )
    shape = (-1, 4, student.reg_max + 1)
    return TensorSpec('head.distributions', shape, shape)


def match_distributions(
    region: str,
    head: HostModule,
    student: tuple[Maps, Maps],
    teacher: Maps,
    targets: tuple[Any, ...],
    samples: Samples,
) -> MatchedTensors:
    """Logits of the bins (M, 4, n + 1), of the anchors in a region.

    Args:
        region: 'main' or 'vlr'.
        head: the student's.
        student: its class logits and distributions, (N, ..., H, W) a level.
        teacher: distributions of the teacher, of the same sizes.
        targets: what ``get_targets`` of the student's head gave.
        samples: of the batch.
    """
    anchors, labels, label_weights = targets[:3]
    logits, maps = student
    weights: Maps
    if region == 'main':
        weights = _confidence(head, logits, labels)
    else:
        weights = _closeness(head, anchors, label_weights, samples)
    student_edges, teacher_edges, mask = [], [], []
    for weight, student_map, teacher_map in zip(weights, maps, teacher, strict=True):
        image, point = torch.nonzero(weight, as_tuple=True)
        student_edges.append(_edges(student_map, image, point))
        teacher_edges.append(_edges(teacher_map, image, point))
        mask.append(weight[image, point])
    kept = torch.cat(mask)
    return MatchedTensors(
        torch.cat(student_edges),
        torch.cat(teacher_edges),
        mask=kept,
        count=kept.sum(),
    )


def _edges(maps: Tensor, image: Tensor, point: Tensor) -> Tensor:
    """Bins (M, 4, n + 1) of maps (N, 4 (n + 1), H, W) at these points."""
    bins = maps.shape[1] // 4
    rows = maps.flatten(2)[image, :, point]  # (M, 4 (n + 1))
    return rows.view(len(rows), 4, bins)


def _confidence(head: HostModule, logits: Maps, labels: Maps) -> list[Tensor]:
    """Highest class score of the positives, as in the host's loss; (N, H W) a level."""
    return [
        torch.where(
            (label >= 0) & (label < head.num_classes),
            item.detach().float().sigmoid().amax(dim=1).flatten(1),
            0.0,
        )
        for item, label in zip(logits, labels, strict=True)
    ]


def _closeness(
    head: HostModule, anchors: Maps, label_weights: Maps, samples: Samples
) -> Maps:
    """Overlap of the anchors in the valuable region; (N, H W) a level."""
    from mmdet.models.task_modules.assigners import ATSSAssigner

    of_atss = isinstance(head.assigner, ATSSAssigner)
    topk = head.assigner.topk if of_atss else TOPK
    sizes = [level.shape[1] for level in anchors]
    priors = torch.cat(list(anchors), dim=1)  # (N, A, 4)
    # Weight 0: past the image's own padding, or in a box that is to be ignored.
    judged = torch.cat(list(label_weights), dim=1) > 0
    counts = torch.stack([part.sum(dim=1) for part in judged.split(sizes, dim=1)], 1)
    weights = priors.new_zeros(judged.shape)
    for image, of_levels in enumerate(counts.tolist()):
        boxes = samples[image].gt_instances.bboxes
        weights[image, judged[image]] = valuable_region(
            priors[image, judged[image]],
            of_levels,
            getattr(boxes, 'tensor', boxes),
            topk=topk,
        )
    levels: Maps = weights.split(sizes, dim=1)
    return levels
