"""Detectors built on deformable convolution train and predict, however small."""

from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope

from kd_plugins.registry import MODELS
from kd_plugins.teachers import model_config, without_pretrained
from tests.distillers.tiny import CLASSES, raw_batch

pytestmark = pytest.mark.host
# A ResNet-50 of a sixteenth of the width, and heads of a quarter.
BACKBONE = dict(base_channels=4, frozen_stages=-1, zero_init_residual=False)
NECK = dict(in_channels=[16, 32, 64, 128], out_channels=64)
HEAD = dict(num_classes=CLASSES, in_channels=64, feat_channels=64)
ONE_STAGE = dict(backbone=BACKBONE, neck=NECK, bbox_head=HEAD)
# Version 1, version 2, offsets of another size, masked convolution.
FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    'vfnet': ('vfnet/vfnet_r50_fpn_1x_coco', ONE_STAGE, 'vfnet_cls_dconv'),
    'dcnv2': (
        'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco',
        dict(
            backbone=BACKBONE,
            neck=NECK,
            rpn_head=dict(in_channels=64, feat_channels=64),
            roi_head=dict(
                bbox_roi_extractor=dict(out_channels=64),
                bbox_head=dict(in_channels=64, fc_out_channels=8, num_classes=CLASSES),
            ),
        ),
        'conv2.conv_offset',
    ),
    'dyhead': (
        'dyhead/atss_r50_fpn_dyhead_1x_coco',
        dict(
            backbone=BACKBONE,
            neck=[
                dict(type='FPN', num_outs=5, start_level=1, **NECK),
                dict(type='DyHead', in_channels=64, out_channels=64, num_blocks=1),
            ],
            bbox_head=HEAD,
        ),
        'spatial_conv_offset',
    ),
    'guided anchoring': (
        'guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco',
        ONE_STAGE,
        'feature_adaption_cls.conv_offset',
    ),
}


@pytest.mark.filterwarnings(
    'ignore:This overload of addmm is deprecated',
    'ignore:In MMCV v1.4.4, we modified the default value',
    'ignore:DeprecationWarning. pos_bboxes is deprecated',
)
@pytest.mark.parametrize(('name', 'small', 'layer'), FAMILIES.values(), ids=FAMILIES)
def test_trains_and_predicts(name: str, small: dict[str, Any], layer: str) -> None:
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = model_config(dict(cfg=f'mmdet::{name}.py', **small))
    model = MODELS.build(without_pretrained(cfg))
    model.init_weights()
    data = model.train().data_preprocessor(
        raw_batch(sizes=((128, 128), (120, 124))), True
    )
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert loss.isfinite()
    gradients = [
        parameter.grad
        for path, parameter in model.named_parameters()
        if layer in path and path.endswith('weight')
    ]
    assert all(item is not None and item.isfinite().all() for item in gradients)
    assert sum(item.abs().sum() for item in gradients) > 0
    one = dict(inputs=data['inputs'][:1], data_samples=data['data_samples'][:1])
    with torch.no_grad():  # guided anchoring predicts image by image
        assert len(model.eval()(**one, mode='predict')) == 1
