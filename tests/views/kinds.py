"""One model of each kind of head: the hosts' own configs, of a few thousand weights."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData

from kd_plugins.teachers import model_config, without_pretrained
from tests.distillers import tiny, tiny_dense, tiny_seg, tiny_transformers
from tests.views.test_pixel_decoders import mask2former, maskformer, segmentor

SIDE = 128
# Whatever counts channels, in backbones, necks and heads.
_CHANNELS = (
    'aux_channels',
    'channels',
    'cls_in_channels',
    'cls_out_channels',
    'conv_out_channels',
    'embed_dims',
    'fc_out_channels',
    'feat_channel',
    'feat_channels',
    'in_channels',
    'mask_feature_channels',
    'ocr_channels',
    'out_channels',
    'out_conv_channels',
    'point_feat_channels',
    'reg_cls_out_channels',
    'reg_in_channels',
    'reg_offset_out_channels',
    'stage_channels',
)
_RESNET = dict(base_channels=4, stem_channels=4, depth=50, frozen_stages=-1)
_GROUPS = dict(bbox_head__norm_cfg=dict(type='GN', num_groups=4))


@dataclass(frozen=True)
class Kind:
    """A model of one kind of head.

    Attributes:
        build: makes its configuration.
        serves: views that compare two of it; all others must say what does.
        trains: whether it can take a training step here.
        side: of its images.
    """

    build: Callable[[], Any]
    serves: str = ''
    trains: bool = True
    side: int = SIDE


def narrowed(item: Any, factor: int = 16) -> None:
    """Divide all channels of a configuration, in place."""
    if isinstance(item, dict):
        for key, value in item.items():
            if key in _CHANNELS:
                item[key] = _divided(value, factor)
            elif key == 'num_groups':
                item[key] = 4
            elif key == 'num_classes':
                item[key] = tiny.CLASSES
            elif item.get('type') == 'SyncBN' and key == 'type':
                item[key] = 'BN'
            if isinstance(value, (dict, list)):
                narrowed(value, factor)
    elif isinstance(item, list):
        for entry in item:
            narrowed(entry, factor)


def _divided(value: Any, factor: int) -> Any:
    if isinstance(value, (list, tuple)):
        return [_divided(entry, factor) for entry in value]
    return value // factor if isinstance(value, int) and value >= 64 else value


def host(name: str, **changes: Any) -> Callable[[], Any]:
    """A config of the hosts; ``changes`` are merged: ``roi_head__bbox_head=...``."""

    def build() -> Any:
        model = without_pretrained(model_config(dict(cfg=name)))
        narrowed(model)
        if 'ResNe' in model.backbone.type:
            model.backbone.update(_RESNET)
        for path, value in changes.items():
            *parents, last = path.split('__')
            place = model
            for parent in parents:
                place = place[parent]
            if value is None:
                del place[last]
            elif isinstance(value, dict) and isinstance(place.get(last), dict):
                place[last].update(copy.deepcopy(value))
            else:
                place[last] = copy.deepcopy(value)
        return model

    return build


def detector(name: str, **changes: Any) -> Callable[[], Any]:
    return host(f'mmdet::{name}.py', **changes)


_TWO_STAGE = 'roi.logits roi.deltas roi.features rpn.logits rpn.deltas'
_RPN = 'rpn.logits rpn.deltas'
_CROSSED = 'head.logits head.deltas cross.logits cross.boxes'
_PIXELS = 'seg.logits seg.features seg.gradient'
# These run on both families of the hosts.
MAIN: dict[str, Kind] = {
    'two-stage': Kind(detector('faster_rcnn/faster-rcnn_r50_fpn_1x_coco'), _TWO_STAGE),
    'mask': Kind(
        detector('mask_rcnn/mask-rcnn_r50_fpn_1x_coco'), f'{_TWO_STAGE} roi.masks'
    ),
    'double': Kind(detector('double_heads/dh-faster-rcnn_r50_fpn_1x_coco'), _RPN),
    'grid': Kind(
        detector('grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco'),
        f'roi.logits roi.features {_RPN}',
    ),
    'pisa': Kind(  # its sampler asks for an operator that is not replaced
        detector('pisa/faster-rcnn_r50_fpn_pisa_1x_coco'),
        f'roi.features {_RPN}',
        trains=False,
    ),
    'seesaw': Kind(
        detector('seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1'),
        f'roi.deltas roi.features roi.masks {_RPN}',
    ),
    'trident': Kind(
        detector(
            'tridentnet/tridentnet_r50-caffe_1x_coco',
            roi_head__shared_head=None,
            roi_head__bbox_head=dict(type='BBoxHead', in_channels=64, roi_feat_size=14),
        )
    ),
    'retinanet': Kind(detector('retinanet/retinanet_r50_fpn_1x_coco'), _CROSSED),
    'gfl': Kind(
        detector('gfl/gfl_r50_fpn_1x_coco', **_GROUPS),
        'head.logits head.deltas head.distributions cross.logits cross.distributions',
    ),
    'yolov3': Kind(
        detector(
            'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco',
            backbone__widen_factor=0.25,
            neck=dict(in_channels=[80, 24, 8], out_channels=[16, 16, 16]),
            bbox_head=dict(in_channels=[16, 16, 16], out_channels=[16, 16, 16]),
        )
    ),
    'ssd': Kind(
        detector(
            'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco',
            backbone__widen_factor=0.25,
            neck=dict(in_channels=(24, 1280), out_channels=(24, 1280, 32, 16, 16, 16)),
            bbox_head__in_channels=(24, 1280, 32, 16, 16, 16),
        )
    ),
    'tood': Kind(detector('tood/tood_r50_fpn_1x_coco', **_GROUPS)),
    'solo': Kind(detector('solo/solo_r50_fpn_1x_coco')),
    'solov2': Kind(detector('solov2/solov2_r50_fpn_1x_coco')),
    'yolact': Kind(detector('yolact/yolact_r50_1xb8-55e_coco')),
    'detr': Kind(tiny_transformers.detr, 'encoder.memory'),
    'mask2former': Kind(mask2former, side=64),
    'pixels': Kind(tiny_seg.segmentor, _PIXELS, side=32),
    'cascade of pixels': Kind(tiny_seg.cascade, 'seg.logits seg.features', side=32),
    'segmenter': Kind(
        host(
            'mmseg::segmenter/segmenter_vit-s_mask_8xb1-160k_ade20k-512x512.py',
            backbone=dict(img_size=(32, 32), num_layers=1, num_heads=2, embed_dims=24),
            decode_head=dict(in_channels=24, channels=24, num_layers=1, num_heads=2),
            data_preprocessor__size=(32, 32),
        ),
        'seg.logits seg.gradient',
        side=32,
    ),
}
# And these on one.
MORE: dict[str, Kind] = {
    'cascade': Kind(
        detector('cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco'),
        f'{_TWO_STAGE} roi.masks',
    ),
    'sabl': Kind(detector('sabl/sabl-faster-rcnn_r50_fpn_1x_coco'), _RPN),
    'sabl cascade': Kind(detector('sabl/sabl-cascade-rcnn_r50_fpn_1x_coco'), _RPN),
    'points': Kind(
        detector('point_rend/point-rend_r50-caffe_fpn_ms-1x_coco'), _TWO_STAGE
    ),
    'htc': Kind(detector('htc/htc-without-semantic_r50_fpn_1x_coco'), _RPN),
    'scnet': Kind(detector('scnet/scnet_r50_fpn_1x_coco'), _RPN, trains=False),
    'scored masks': Kind(
        detector('ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco'), f'{_TWO_STAGE} roi.masks'
    ),
    'dynamic': Kind(detector('dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco'), _TWO_STAGE),
    'sparse': Kind(
        detector(
            'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco',
            rpn_head__proposal_feature_channel=16,
        )
    ),
    'queries': Kind(
        detector(
            'queryinst/queryinst_r50_fpn_1x_coco',
            rpn_head__proposal_feature_channel=16,
        )
    ),
    'two instances': Kind(
        detector('crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman'),
        _RPN,
        trains=False,
    ),
    'cascade of anchors': Kind(
        detector('cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco'),
        'roi.logits roi.deltas roi.features',
    ),
    'guided': Kind(
        detector('guided_anchoring/ga-faster-rcnn_r50-caffe_fpn_1x_coco'),
        'roi.logits roi.deltas roi.features',
    ),
    'proposals': Kind(
        detector('fast_rcnn/fast-rcnn_r50_fpn_1x_coco'),
        'roi.logits roi.deltas roi.features',
    ),
    'rpn alone': Kind(detector('rpn/rpn_r50_fpn_1x_coco'), 'head.logits'),
    'fcos': Kind(
        detector('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco', **_GROUPS),
        f'{_CROSSED} cross.centerness',
    ),
    'atss': Kind(
        detector('atss/atss_r50_fpn_1x_coco', **_GROUPS), f'{_CROSSED} cross.centerness'
    ),
    'yolox': Kind(
        detector(
            'yolox/yolox_tiny_8xb8-300e_coco',
            backbone__widen_factor=0.125,
            neck=dict(in_channels=[32, 64, 128], out_channels=16),
            bbox_head=dict(in_channels=16, feat_channels=16),
        ),
        'head.logits',
    ),
    'yolof': Kind(detector('yolof/yolof_r50-c5_8xb8-1x_coco'), 'head.logits'),
    'vfnet': Kind(detector('vfnet/vfnet_r50_fpn_1x_coco', **_GROUPS), 'head.logits'),
    'ddod': Kind(detector('ddod/ddod_r50_fpn_1x_coco', **_GROUPS), 'head.logits'),
    'paa': Kind(detector('paa/paa_r50_fpn_1x_coco', **_GROUPS), 'head.logits'),
    'fsaf': Kind(detector('fsaf/fsaf_r50_fpn_1x_coco'), 'head.logits'),
    'free anchors': Kind(
        detector('free_anchor/freeanchor_r50_fpn_1x_coco'), 'head.logits'
    ),
    'fovea': Kind(detector('foveabox/fovea_r50_fpn_4xb4-1x_coco'), 'head.logits'),
    'representative points': Kind(
        detector('reppoints/reppoints-moment_r50_fpn_1x_coco'), 'head.logits'
    ),
    'sabl anchors': Kind(detector('sabl/sabl-retinanet_r50_fpn_1x_coco')),
    'guided anchors': Kind(
        detector('guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco')
    ),
    'rtmdet': Kind(tiny_dense.rtmdet, 'head.logits head.deltas'),
    'decoupled solo': Kind(detector('solo/decoupled-solo_r50_fpn_1x_coco')),
    'condinst': Kind(
        detector('condinst/condinst_r50_fpn_ms-poly-90k_coco_instance', **_GROUPS),
        'head.logits',
    ),
    'heatmaps': Kind(
        detector(
            'centernet/centernet_r18_8xb16-crop512-140e_coco',
            backbone__depth=18,
            neck__num_deconv_filters=(16, 8, 4),
        )
    ),
    'centres': Kind(
        detector(
            'centernet/centernet-update_r50_fpn_8xb8-amp-lsj-200e_coco', **_GROUPS
        ),
        'head.logits',
    ),
    'corners': Kind(
        detector(
            'cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco',
            backbone__feat_channel=16,
        )
    ),
    'dino': Kind(tiny_transformers.dino, 'encoder.memory'),
    'deformable': Kind(tiny_transformers.deformable_detr, 'encoder.memory'),
    'maskformer': Kind(maskformer, side=64),
    'masks of pixels': Kind(segmentor, side=32),
    'points of pixels': Kind(
        host(
            'mmseg::point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py',
            data_preprocessor__size=(64, 64),
        ),
        side=64,
    ),
    'kernels': Kind(
        host(
            'mmseg::knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py',
            data_preprocessor__size=(64, 64),
        ),
        'seg.logits seg.gradient',
        side=64,
    ),
}


def batch(model: Any, kind: Kind) -> dict[str, Any]:
    """Two images with everything that any of these models asks for."""
    side = kind.side
    if 'mmseg' in type(model.student).__module__:
        raw = _segments(side)
    else:
        boxes = [[[4, 6, side // 2, side // 2], [30, 20, 60, 58]], [[10, 10, 50, 56]]]
        raw = tiny.raw_batch(boxes, [(side, side)] * 2, masks=_draws_masks(model))
        for sample in raw['data_samples']:
            proposals = sample.gt_instances.bboxes.repeat(4, 1)
            sample.proposals = InstanceData(bboxes=proposals, scores=proposals[:, 0])
            sample.set_metainfo(dict(border=[0, side, 0, side], flip=False))
    prepared: dict[str, Any] = model.data_preprocessor(raw, True)
    return prepared


def _draws_masks(model: Any) -> bool:
    return any('mask' in name for name, _ in model.student.named_modules())


def _segments(side: int) -> dict[str, Any]:
    raw = tiny_seg.raw_segments()
    generator = torch.Generator().manual_seed(2)
    raw['inputs'] = [
        torch.randint(0, 256, (3, side, side), generator=generator).byte()
        for _ in raw['inputs']
    ]
    for sample in raw['data_samples']:
        labels = torch.randint(0, tiny.CLASSES, (1, side, side), generator=generator)
        sample.gt_sem_seg = PixelData(data=labels)
        sample.set_metainfo(dict(img_shape=(side, side), ori_shape=(side, side)))
    return raw


def config_of(kind: Kind) -> ConfigDict:
    """Of a model of this kind, to be changed."""
    return ConfigDict(copy.deepcopy(kind.build()))
