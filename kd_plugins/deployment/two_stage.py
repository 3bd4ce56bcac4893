"""Faster R-CNN, whole: proposals, RoIAlign, box head, NMS."""

import torch
import torchvision
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


class TwoStageGraph(nn.Module):
    """Images to detections, as the host's ``predict`` gives them.

    mmcv's RoIAlign and NMS are exported by code of mmdet 2: torchvision's are taken.

    Args:
        model: a host's Faster R-CNN.
    """

    task = DETECTION
    outputs = ('boxes', 'scores', 'labels')

    def __init__(self, model: HostModule, dynamic: bool) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(model.data_preprocessor, dynamic)
        self.model = model
        self.proposal_nms = nms_of(model.rpn_head.test_cfg, 'test_cfg.rpn')
        self.nms = nms_of(model.roi_head.test_cfg, 'test_cfg.rcnn')

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, M, 4), scores (N, M), labels (N, M), M as in ``test_cfg.rcnn``.

        Args:
            image: as :class:`~.preprocessing.InputFormat` says.
        """
        features = self.model.extract_feat(self.preprocessing(image))
        maps = self.model.rpn_head(features)
        size = self.preprocessing.size_of(image)
        results = []
        for number in range(image.shape[0]):
            own = [[level[number] for level in kind] for kind in maps]
            proposals, _, levels = self.proposal_nms(
                proposals_of(self.model.rpn_head, own, size)
            )
            images = proposals.new_full((proposals.shape[0], 1), number)
            rois = torch.cat([images, proposals], dim=1)
            # Of places without a proposal the label is -1.
            candidates = box_candidates(
                self.model.roi_head, features, rois, levels >= 0, size
            )
            results.append(self.nms(candidates))
        boxes, scores, labels = zip(*results, strict=True)
        return torch.stack(boxes), torch.stack(scores), torch.stack(labels)

    def free_axes(self) -> dict[str, dict[int, str]]:
        """Names of the axes whose length may be any: images are taken one by one."""
        return {'image': {2: 'height', 3: 'width'}}


def proposals_of(
    head: HostModule, maps: list[list[Tensor]], size: tuple[int, int]
) -> Candidates:
    """Proposals of one image before NMS; their labels are the levels.

    Args:
        head: a host's RPN head.
        maps: objectness and regressions of each level (C, H, W).
        size: height and width of the image.
    """
    levels = []
    for number, (logits, regression, priors) in enumerate(
        zip(*maps, priors_of(head, maps[0]), strict=True)
    ):
        scores, rows = best(
            class_scores(head, logits).flatten(), head.test_cfg.get('nms_pre', -1)
        )
        deltas = regression.permute(1, 2, 0).reshape(-1, head.bbox_coder.encode_size)
        boxes = decoded(head.bbox_coder, priors[rows], deltas[rows], size)
        labels = torch.full_like(rows, number)
        levels.append(Candidates(boxes, scores, labels, labels >= 0))
    return joined(levels)


def pooled(extractor: HostModule, features: list[Tensor], rois: Tensor) -> Tensor:
    """Features of RoIs (R, C, h, w), each from the level that the host chooses.

    Args:
        extractor: a host's ``SingleRoIExtractor``.
        features: of each level (N, C, H, W).
        rois: (R, 5), number of the image and corners in pixels.
    """
    features = features[: extractor.num_inputs]
    levels = extractor.map_roi_levels(rois, len(features))
    size = extractor.roi_layers[0].output_size
    result = features[0].new_zeros(rois.shape[0], extractor.out_channels, *size)
    for number, (layer, feature) in enumerate(
        zip(extractor.roi_layers, features, strict=True)
    ):
        rows = (levels == number).nonzero().squeeze(1)
        part = torchvision.ops.roi_align(
            feature,
            rois[rows],
            layer.output_size,
            layer.spatial_scale,
            layer.sampling_ratio,
            layer.aligned,
        )
        result = result.index_put((rows,), part)
    return result


def box_candidates(
    head: HostModule,
    features: list[Tensor],
    rois: Tensor,
    valid: Tensor,
    size: tuple[int, int],
) -> Candidates:
    """Boxes of one image that NMS chooses from: one of each class for each RoI.

    Args:
        head: a host's RoI head.
        features: of each level (N, C, H, W).
        rois: (R, 5), number of the image and corners in pixels.
        valid: (R,), bool; those that count.
        size: height and width of the image.
    """
    box_head = head.bbox_head
    part = pooled(head.bbox_roi_extractor, features, rois)
    if head.with_shared_head:
        part = head.shared_head(part)
    logits, deltas = box_head(part)
    scores = logits.softmax(dim=-1)[:, :-1]
    classes = scores.shape[1]
    # Boxes a RoI: one for each class, or one for all.
    boxes_each = 1 if box_head.reg_class_agnostic else classes
    coder = box_head.bbox_coder
    priors = rois[:, None, 1:].expand(-1, boxes_each, -1).reshape(-1, 4)
    boxes = decoded(coder, priors, deltas.reshape(-1, coder.encode_size), size)
    boxes = boxes.view(-1, boxes_each, 4).expand(-1, classes, -1)
    labels = torch.arange(classes, device=scores.device).expand_as(scores)
    likely = (scores > head.test_cfg.score_thr) & valid[:, None]
    return Candidates(
        boxes.reshape(-1, 4), scores.flatten(), labels.flatten(), likely.flatten()
    )
