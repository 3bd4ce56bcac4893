"""Tiny distillers of each task, and images for them."""

import copy
from typing import Any

import torch
from mmengine.registry import DATASETS
from mmengine.structures import PixelData

from tests.distillers.runs import TinyImages
from tests.distillers.tiny import all_pairs, config, faster_rcnn, hint, teacher_of
from tests.distillers.tiny_seg import TinySegments, segmentor
from tests.views.depth.test_depth import depth_estimator


class _Still:
    """Without the noise: the same images each time."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        items: list[dict[str, Any]] = self.items  # type: ignore[attr-defined]
        return copy.deepcopy(items[index])


@DATASETS.register_module()
class PictureImages(_Still, TinyImages):
    pass


@DATASETS.register_module()
class PictureSegments(_Still, TinySegments):
    pass


@DATASETS.register_module()
class PictureDepths(PictureSegments):
    metainfo: dict[str, Any] = {}

    def __init__(self) -> None:
        super().__init__()
        for item in self.items:
            sample = item['data_samples']
            del sample.gt_sem_seg
            depth = 8 * torch.rand(1, 32, 32) + 1
            depth[:, :4] = 0  # not measured
            sample.gt_depth_map = PixelData(data=depth)


def detection() -> dict[str, Any]:
    """With pairs of maps by an adapter, of RPN maps, and of rows."""
    pairs = all_pairs()
    pairs['hint'] = hint(adapter=dict(type='ConvAdapter'))
    return config(pairs, faster_rcnn(), teacher_of(faster_rcnn(width=16)))


def segmentation() -> dict[str, Any]:
    stage = dict(
        layer='backbone.layer2',
        loss=dict(type='HintLoss'),
        adapter=dict(type='ConvAdapter'),
    )
    pixels = dict(view='seg.logits', loss=dict(type='KDLoss'))
    return config(
        dict(pixels=pixels, stage=stage), segmentor(), teacher_of(segmentor(8))
    )


def depth() -> dict[str, Any]:
    pairs = dict(
        depth=dict(view='depth.map', loss=dict(type='HintLoss', norm='l1')),
        stage=dict(layer='backbone', levels=[1], loss=dict(type='PairWiseLoss')),
    )
    teacher = depth_estimator(max_depth=20.0)
    return config(pairs, depth_estimator(), teacher_of(teacher))


# By task: the model, its data set, the scope of its host, and pairs that have maps.
TASKS: dict[str, tuple[Any, str, str, dict[str, int]]] = dict(
    detection=(detection, 'PictureImages', 'mmdet', dict(hint=3, rpn_cls=3, rpn_reg=3)),
    segmentation=(segmentation, 'PictureSegments', 'mmseg', dict(pixels=1, stage=1)),
    depth=(depth, 'PictureDepths', 'mmseg', dict(depth=1, stage=1)),
)
