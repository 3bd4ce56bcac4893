"""Detectors of a few thousand weights, a batch for them, and configs of distillers."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from kd_plugins.distillers.step import Step
from kd_plugins.registry import MODELS
from kd_plugins.views import FrozenRun, MatchedTensors

SIDE = 64
CLASSES = 3
IMAGE_MEANS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def _assigner(positive: float, negative: float) -> dict[str, Any]:
    return dict(
        type='mmdet.MaxIoUAssigner',
        pos_iou_thr=positive,
        neg_iou_thr=negative,
        min_pos_iou=negative,
        match_low_quality=negative < 0.5,
        ignore_iof_thr=-1,
    )


def _sampler(number: int, add_gt: bool) -> dict[str, Any]:
    return dict(
        type='mmdet.RandomSampler',
        num=number,
        pos_fraction=0.5,
        neg_pos_ub=-1,
        add_gt_as_proposals=add_gt,
    )


def bbox_head(fc: int, width: int, **changes: Any) -> dict[str, Any]:
    head = dict(
        type='mmdet.Shared2FCBBoxHead',
        in_channels=width,
        fc_out_channels=fc,
        roi_feat_size=4,
        num_classes=CLASSES,
        bbox_coder=dict(
            type='mmdet.DeltaXYWHBBoxCoder',
            target_means=[0.0] * 4,
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
        reg_class_agnostic=False,
        loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='mmdet.L1Loss'),
    )
    head.update(changes)
    return head


def faster_rcnn(
    base: int = 4, width: int = 8, fc: int = 16, **changes: Any
) -> ConfigDict:
    """A Faster R-CNN; ``changes`` are merged: ``roi_head__bbox_head=dict(...)``."""
    proposals = dict(
        nms_pre=100,
        max_per_img=20,
        nms=dict(type='nms', iou_threshold=0.7),
        min_bbox_size=0,
    )
    model: dict[str, Any] = dict(
        type='mmdet.FasterRCNN',
        data_preprocessor=dict(
            type='mmdet.DetDataPreprocessor',
            bgr_to_rgb=True,
            pad_size_divisor=32,
            **IMAGE_MEANS,
        ),
        backbone=dict(
            type='mmdet.ResNet',
            depth=18,
            base_channels=base,
            stem_channels=base,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(0, 1, 2),
            frozen_stages=-1,
            norm_eval=False,
            style='pytorch',
        ),
        neck=dict(
            type='mmdet.FPN',
            in_channels=[base, 2 * base, 4 * base],
            out_channels=width,
            num_outs=3,
        ),
        rpn_head=dict(
            type='mmdet.RPNHead',
            in_channels=width,
            feat_channels=width,
            anchor_generator=dict(
                type='mmdet.AnchorGenerator',
                scales=[4],
                ratios=[0.5, 1.0],
                strides=[4, 8, 16],
            ),
            bbox_coder=dict(
                type='mmdet.DeltaXYWHBBoxCoder',
                target_means=[0.0] * 4,
                target_stds=[1.0] * 4,
            ),
            loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='mmdet.L1Loss'),
        ),
        roi_head=dict(
            type='mmdet.StandardRoIHead',
            bbox_roi_extractor=dict(
                type='mmdet.SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=4, sampling_ratio=2),
                out_channels=width,
                featmap_strides=[4, 8],
                finest_scale=20,
            ),
            bbox_head=bbox_head(fc, width),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=_assigner(0.7, 0.3),
                sampler=_sampler(24, False),
                allowed_border=-1,
                pos_weight=-1,
                debug=False,
            ),
            rpn_proposal=proposals,
            rcnn=dict(
                assigner=_assigner(0.5, 0.5),
                sampler=_sampler(12, True),
                pos_weight=-1,
                debug=False,
            ),
        ),
        test_cfg=dict(
            rpn=proposals,
            rcnn=dict(
                score_thr=0.05,
                nms=dict(type='nms', iou_threshold=0.5),
                max_per_img=5,
            ),
        ),
    )
    return _merged(model, changes)


def cascade_rcnn(stages: int = 2, **changes: Any) -> ConfigDict:
    """The same as a cascade, class-agnostic, with other coders in later stages."""
    model = faster_rcnn(**changes)
    width, fc = model.neck.out_channels, model.roi_head.bbox_head.fc_out_channels
    heads = []
    for stage in range(stages):
        coder = copy.deepcopy(model.roi_head.bbox_head.bbox_coder)
        coder.target_stds = [std / (stage + 1) for std in coder.target_stds]
        heads.append(bbox_head(fc, width, reg_class_agnostic=True, bbox_coder=coder))
    model.type = 'mmdet.CascadeRCNN'
    model.roi_head = ConfigDict(
        type='mmdet.CascadeRoIHead',
        num_stages=stages,
        stage_loss_weights=[1.0] * stages,
        bbox_roi_extractor=model.roi_head.bbox_roi_extractor,
        bbox_head=heads,
    )
    model.train_cfg.rcnn = [copy.deepcopy(model.train_cfg.rcnn) for _ in heads]
    return model


def mask_rcnn(**changes: Any) -> ConfigDict:
    model = faster_rcnn(**changes)
    width = model.neck.out_channels
    model.type = 'mmdet.MaskRCNN'
    extractor = copy.deepcopy(model.roi_head.bbox_roi_extractor)
    model.roi_head.mask_roi_extractor = extractor
    model.roi_head.mask_head = dict(
        type='mmdet.FCNMaskHead',
        num_convs=1,
        in_channels=width,
        conv_out_channels=width,
        num_classes=CLASSES,
        loss_mask=dict(type='mmdet.CrossEntropyLoss', use_mask=True),
    )
    model.train_cfg.rcnn.mask_size = 8
    model.test_cfg.rcnn.mask_thr_binary = 0.5
    return model


def _merged(model: dict[str, Any], changes: dict[str, Any]) -> ConfigDict:
    merged = ConfigDict(copy.deepcopy(model))
    for path, value in changes.items():
        *parents, last = path.split('__')
        place = merged
        for parent in parents:
            place = place[parent]
        if isinstance(value, dict) and isinstance(place.get(last), dict):
            place[last].update(copy.deepcopy(value))
        else:
            place[last] = copy.deepcopy(value)
    return merged


def teacher_of(model: dict[str, Any], **options: Any) -> dict[str, Any]:
    return dict(model=model, allow_random=True, **options)


def config(
    pairs: dict[str, Any],
    student: dict[str, Any] | None = None,
    teacher: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """A distiller of tiny Faster R-CNNs, the teacher a random one."""
    return dict(
        type='kd_plugins.Distiller',
        student=student or faster_rcnn(),
        teacher=teacher or teacher_of(faster_rcnn()),
        pairs=pairs,
        **options,
    )


def distiller(*args: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    model = MODELS.build(config(*args, **options))
    model.init_weights()
    return model.train()


def hint(**changes: Any) -> dict[str, Any]:
    return dict(layer='neck', loss=dict(type='HintLoss'), **changes)


def all_pairs(weight: Any = 1.0) -> dict[str, Any]:
    """Hint with adapter, RoI and RPN pairs."""
    return dict(
        hint=hint(adapter=dict(type='ConvAdapter'))
        | dict(loss=dict(type='HintLoss', loss_weight=weight)),
        rcn_cls=dict(
            view='roi.logits', loss=dict(type='WeightedClassKDLoss', loss_weight=weight)
        ),
        rcn_reg=dict(
            view='roi.deltas', loss=dict(type='TeacherBoundedLoss', loss_weight=weight)
        ),
        rpn_cls=dict(
            view='rpn.logits', loss=dict(type='WeightedClassKDLoss', loss_weight=weight)
        ),
        rpn_reg=dict(
            view='rpn.deltas', loss=dict(type='TeacherBoundedLoss', loss_weight=weight)
        ),
    )


BOXES = ([[4, 6, 28, 30], [30, 20, 60, 58]], [[10, 10, 40, 42]])


def raw_batch(
    boxes: Any = BOXES, sizes: Any = ((64, 64), (56, 60)), masks: bool = False
) -> dict[str, Any]:
    """Two images as they come out of the host's pipeline."""
    generator = torch.Generator().manual_seed(1)
    inputs, samples = [], []
    for own, size in zip(boxes, sizes, strict=True):
        inputs.append(
            torch.randint(0, 256, (3, *size), generator=generator).to(torch.uint8)
        )
        found = torch.tensor(own, dtype=torch.float32).reshape(-1, 4)
        instances = InstanceData(
            bboxes=found, labels=torch.arange(len(found)) % CLASSES
        )
        if masks:
            from mmdet.structures.mask import BitmapMasks

            drawn = torch.zeros(len(found), *size, dtype=torch.uint8).numpy()
            drawn[:, 10:30, 10:30] = 1
            instances.masks = BitmapMasks(drawn, *size)
        sample = DetDataSample(
            metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = instances
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def batch(model: Any, **options: Any) -> dict[str, Any]:
    """A batch, preprocessed for training the model."""
    prepared: dict[str, Any] = model.data_preprocessor(raw_batch(**options), True)
    return prepared


def losses_of(model: Any, seed: int = 3, **options: Any) -> dict[str, Any]:
    """Losses of a model on a batch; the samplers draw from ``seed``."""
    prepared = batch(model, **options)
    torch.manual_seed(seed)
    found: dict[str, Any] = model(**prepared, mode='loss')
    return found


def weights_of(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@dataclass
class Observed:
    """One step, looked at from inside.

    Attributes:
        step: itself.
        losses: of the student's own.
        run: of the first teacher.
        matched: by pair.
        inputs: as that teacher saw them.
    """

    step: Step
    losses: dict[str, Any]
    run: FrozenRun
    matched: dict[str, list[MatchedTensors | None]]
    inputs: Tensor

    def first(self, pair: str) -> MatchedTensors:
        found = self.matched[pair][0]
        assert found is not None
        return found


@contextmanager
def observed(model: Any, seed: int = 3, **options: Any) -> Iterator[Observed]:
    prepared = batch(model, **options)
    inputs, samples = prepared['inputs'], prepared['data_samples']
    with model.step(inputs, samples) as step:
        torch.manual_seed(seed)
        losses = model.task_losses(step)
        name, run = next(iter(step.teachers.items()))
        seen, _ = model.teachers[name].inputs(inputs, samples)
        yield Observed(step, losses, run, model.match(step), seen)
