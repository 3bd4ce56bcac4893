"""From candidate boxes to detections, in operators that ONNX has."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor

from ..errors import ConfigError
from ..host_types import HostModule

_NMS_KEYS = {'type', 'iou_threshold', 'class_agnostic', 'split_thr'}


class Candidates(NamedTuple):
    """Boxes of one image before non-maximum suppression.

    Args:
        boxes: corners (M, 4), in pixels of the image.
        scores: (M,).
        labels: (M,), int64; a box suppresses none of another label.
        valid: (M,), bool; those that count.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor


def joined(levels: Iterable[Candidates]) -> Candidates:
    """Those of several levels as one."""
    return Candidates(*(torch.cat(parts) for parts in zip(*levels, strict=True)))


class NMS(NamedTuple):
    """Non-maximum suppression as mmcv's ``batched_nms``, with a fixed number of places.

    Args:
        iou_threshold: of two boxes that overlap more, the worse one goes.
        class_agnostic: whether boxes of different labels suppress each other.
        places: number of boxes that are kept.
        min_size: a box stays whose sides are both longer; None: every box.
    """

    iou_threshold: float
    class_agnostic: bool
    places: int
    min_size: float | None

    def __call__(self, candidates: Candidates) -> tuple[Tensor, Tensor, Tensor]:
        """The best of what is left, best first.

        Returns: boxes (places, 4), scores (places,) and labels (places,); of a place
            that no box fills, zeros and the label -1.
        """
        boxes, scores, labels, valid = candidates
        if self.min_size is not None:
            sides = boxes[:, 2:] - boxes[:, :2]
            valid = valid & (sides > self.min_size).all(dim=1)
        numbers = valid.nonzero().squeeze(1)
        boxes, scores, labels = boxes[numbers], scores[numbers], labels[numbers]
        kept = torchvision.ops.nms(
            self._apart(boxes, labels), scores, self.iou_threshold
        )
        # Row 0 is the empty place: a slice of a known length, whatever was kept.
        empty = torch.zeros(self.places, dtype=torch.long, device=boxes.device)
        rows = torch.cat([kept + 1, empty])[: self.places]
        boxes = torch.cat([boxes.new_zeros(1, 4), boxes])
        scores = torch.cat([scores.new_zeros(1), scores])
        labels = torch.cat([labels.new_full((1,), -1), labels])
        return boxes[rows], scores[rows], labels[rows]

    def _apart(self, boxes: Tensor, labels: Tensor) -> Tensor:
        """Boxes moved so far that those of different labels do not overlap."""
        if self.class_agnostic:
            return boxes
        # The zero, because of no boxes there is no largest coordinate.
        largest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()
        return boxes + (labels.to(boxes) * (largest + 1))[:, None]


def nms_of(cfg: Mapping[str, Any], key: str) -> NMS:
    """What a host's ``test_cfg`` says.

    Args:
        cfg: with ``nms``, ``max_per_img`` and perhaps ``min_bbox_size``.
        key: of ``cfg``, for the message.

    Raises: ConfigError for another kind of suppression.
    """
    nms = dict(cfg.get('nms') or {})
    if nms.get('type') != 'nms' or 'iou_threshold' not in nms or set(nms) - _NMS_KEYS:
        raise ConfigError(
            f"ONNX has suppression by 'nms' with an iou_threshold, got {nms}. Set "
            "nms=dict(type='nms', iou_threshold=...), or export what comes before it: "
            '--dense.',
            f'{key}.nms',
        )
    places = int(cfg.get('max_per_img', -1))
    if places < 1:
        raise ConfigError(
            'a file has a fixed number of places for boxes, expected one > 0, got '
            f'{places}.',
            f'{key}.max_per_img',
        )
    min_size = float(cfg.get('min_bbox_size', -1))
    return NMS(
        float(nms['iou_threshold']),
        bool(nms.get('class_agnostic', False)),
        places,
        min_size if min_size >= 0 else None,
    )


def best(scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The best scores, and their places.

    Args:
        scores: (M,).
        most: how many, of a ``test_cfg``'s ``nms_pre``; all if there are no more, or if
            it is below 1.
    """
    number: Any = scores.shape[0]
    if most < 1:
        return scores, torch.arange(number, device=scores.device)
    # While it is traced, a side is a tensor: so the smaller is part of the graph.
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        number = torch.minimum(torch.as_tensor(number), torch.tensor(most))
    else:
        number = min(number, most)
    values, places = scores.topk(number)
    return values, places


def decoded(
    coder: Any, priors: Tensor, regression: Tensor, size: tuple[int, int]
) -> Tensor:
    """Boxes (M, 4), clipped to the image where the host's coder clips.

    The coder is asked for boxes that are not clipped: in an export the host's clipping
    looks for a module of mmdet 2.

    Args:
        coder: of a host's head.
        priors: what the regression starts from (M, 4), or points (M, 2).
        regression: (M, D), as the coder wants it.
        size: height and width of the image.
    """
    boxes: Tensor = coder.decode(priors, regression)
    if not getattr(coder, 'clip_border', True):
        return boxes
    height, width = size
    sides = [
        side.clamp(min=0, max=most)
        for side, most in zip(
            boxes.unbind(dim=1), (width, height, width, height), strict=True
        )
    ]
    return torch.stack(sides, dim=1)


def priors_of(head: HostModule, scores: list[Tensor]) -> list[Tensor]:
    """Anchors or points of each level, as the host lays them.

    Args:
        head: of either stage.
        scores: of each level (C, H, W).
    """
    sizes = [level.shape[-2:] for level in scores]
    priors: list[Tensor] = head.prior_generator.grid_priors(
        sizes, dtype=scores[0].dtype, device=scores[0].device
    )
    return priors


def class_scores(head: HostModule, logits: Tensor) -> Tensor:
    """Scores of a level (H * W * A, K), without those of a background.

    Args:
        head: a dense head.
        logits: (A * K', H, W), K' being K, or K + 1 with a background.
    """
    rows = logits.permute(1, 2, 0).reshape(-1, head.cls_out_channels)
    if head.use_sigmoid_cls:
        return rows.sigmoid()
    return rows.softmax(dim=-1)[:, :-1]
