"""Box distributions of one-stage heads: bins of each edge, in a region of anchors."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigError
from ..base import MatchedTensors, Place
from .localization_region import TOPK, valuable_region

Maps = Sequence[Tensor]
REGIONS = ('main', 'vlr')


def distribution_place(student: Any, teacher: Any, where: str) -> Place:
    """The rows that two heads of distributions give.

    Args:
        student: the student's head.
        teacher: the teacher's.
        where: configuration key of the pair, for messages.

    Raises: ConfigError for other heads, and for other numbers of bins.
    """
    from mmdet.models.dense_heads import GFLHead

    for which, head in (('student', student), ('teacher', teacher)):
        if not isinstance(head, GFLHead):
            raise ConfigError(
                f'{where} ({which}): head.distributions needs a GFLHead or LDHead, '
                'which gives a distribution for each edge of a box; bbox_head is a '
                f"{type(head).__name__}. Use head.logits, or a 'layer' pair."
            )
    if student.reg_max != teacher.reg_max:
        raise ConfigError(
            f'{where}: the distributions of the student have {student.reg_max + 1} '
            f'bins, those of the teacher {teacher.reg_max + 1}. Set the same reg_max '
            'in both bbox_head.'
        )
    shape = (-1, 4, student.reg_max + 1)
    return Place('head.distributions', shape, shape)


def match_distributions(
    region: str,
    head: Any,
    own: tuple[Maps, Maps],
    teacher: Maps,
    targets: tuple[Any, ...],
    data_samples: Sequence[Any],
) -> MatchedTensors:
    """Logits of the bins (M, 4, n + 1), of the anchors in a region.

    Args:
        region: 'main' or 'vlr'.
        head: the student's.
        own: its class logits and distributions, (N, ..., H, W) a level.
        teacher: distributions of the teacher, of the same sizes.
        targets: what ``get_targets`` of the student's head gave.
        data_samples: of the batch.
    """
    anchors, labels, label_weights = targets[:3]
    logits, maps = own
    weights: Maps
    if region == 'main':
        weights = _confidence(head, logits, labels)
    else:
        weights = _closeness(head, anchors, label_weights, data_samples)
    student, other, mask = [], [], []
    for weight, own_map, teacher_map in zip(weights, maps, teacher, strict=True):
        image, cell = torch.nonzero(weight, as_tuple=True)
        student.append(_edges(own_map, image, cell))
        other.append(_edges(teacher_map, image, cell))
        mask.append(weight[image, cell])
    kept = torch.cat(mask)
    return MatchedTensors(
        torch.cat(student), torch.cat(other), mask=kept, count=kept.sum()
    )


def _edges(maps: Tensor, image: Tensor, cell: Tensor) -> Tensor:
    """Bins (M, 4, n + 1) of maps (N, 4 (n + 1), H, W) at these cells."""
    bins = maps.shape[1] // 4
    rows = maps.flatten(2)[image, :, cell]  # (M, 4 (n + 1))
    return rows.view(len(rows), 4, bins)


def _confidence(head: Any, logits: Maps, labels: Maps) -> list[Tensor]:
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
    head: Any, anchors: Maps, label_weights: Maps, data_samples: Sequence[Any]
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
        boxes = data_samples[image].gt_instances.bboxes
        weights[image, judged[image]] = valuable_region(
            priors[image, judged[image]],
            of_levels,
            getattr(boxes, 'tensor', boxes),
            topk=topk,
        )
    levels: Maps = weights.split(sizes, dim=1)
    return levels
