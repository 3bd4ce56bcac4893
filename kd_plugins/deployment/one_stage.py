"""One-stage detectors, whole: the dense head, its decoding, NMS."""

from typing import Any

import torch
from mmdet.models.dense_heads import GFLHead
from torch import Tensor, nn

from ..host_types import HostModule
from .boxes import (
    Candidates,
    best,
    class_scores,
    decoded,
    joined,
    nms_of,
    priors_of,
)
from .metadata import DETECTION
from .preprocessing import Preprocessing


class OneStageGraph(nn.Module):
    """Images to detections, as the host's ``predict`` gives them.

    The network, the priors, the decoding of regressions are the host's; what is written
    anew is what an exporter cannot follow: the choice of the best candidates and NMS.

    Args:
        model: a host's one-stage detector.
    """

    task = DETECTION
    outputs = ('boxes', 'scores', 'labels')

    def __init__(self, model: HostModule, dynamic: bool) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(model.data_preprocessor, dynamic)
        self.model = model
        self.nms = nms_of(model.bbox_head.test_cfg, 'test_cfg')

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, M, 4), scores (N, M), labels (N, M), M as in ``test_cfg``.

        Args:
            image: as :class:`~.preprocessing.InputFormat` says.
        """
        head = self.model.bbox_head
        maps = head(self.model.extract_feat(self.preprocessing(image)))
        size = self.preprocessing.size_of(image)
        results = [
            self.nms(candidates_of(head, _of_image(maps, number), size))
            for number in range(image.shape[0])
        ]
        boxes, scores, labels = zip(*results, strict=True)
        return torch.stack(boxes), torch.stack(scores), torch.stack(labels)

    def free_axes(self) -> dict[str, dict[int, str]]:
        """Names of the axes whose length may be any: images are taken one by one."""
        return {'image': {2: 'height', 3: 'width'}}


def _of_image(maps: Any, number: int) -> list[list[Tensor]]:
    return [[level[number] for level in kind] for kind in maps]


def candidates_of(
    head: HostModule, maps: list[list[Tensor]], size: tuple[int, int]
) -> Candidates:
    """Boxes of one image that NMS chooses from.

    Args:
        head: a host's dense head.
        maps: of each kind those of each level (C, H, W): class scores, regressions and
            perhaps factors of the scores.
        size: height and width of the image.
    """
    priors = priors_of(head, maps[0])
    levels = zip(*maps, strict=True)
    return joined(
        _level(head, number, level, prior, size)
        for number, (level, prior) in enumerate(zip(levels, priors, strict=True))
    )


def _level(
    head: HostModule,
    number: int,
    maps: tuple[Tensor, ...],
    priors: Tensor,
    size: tuple[int, int],
) -> Candidates:
    cfg = head.test_cfg
    logits, regression, *factors = maps
    scores = class_scores(head, logits)
    classes = scores.shape[1]
    # The host sorts out by score_thr before it takes the best: the same ones remain.
    scores, places = best(scores.flatten(), cfg.get('nms_pre', -1))
    valid = scores > cfg.get('score_thr', 0)
    rows, labels = places // classes, places % classes
    regression = regression.permute(1, 2, 0)
    if isinstance(head, GFLHead):
        stride = head.prior_generator.strides[number][0]
        regression = head.integral(regression) * stride
        priors = head.anchor_center(priors)
    else:
        regression = regression.reshape(-1, head.bbox_coder.encode_size)
    boxes = decoded(head.bbox_coder, priors[rows], regression[rows], size)
    for factor in factors:
        scores = scores * factor.permute(1, 2, 0).flatten().sigmoid()[rows]
    return Candidates(boxes, scores, labels, valid)
