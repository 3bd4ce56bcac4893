"""One-stage detectors of a few thousand weights."""

from typing import Any

from .tiny import CLASSES, faster_rcnn


def fcos(base: int = 4, width: int = 8, **head: Any) -> dict[str, Any]:
    """FCOS on three levels of an FPN."""
    whole = faster_rcnn(base=base, width=width)
    return dict(
        type='mmdet.FCOS',
        data_preprocessor=whole.data_preprocessor,
        backbone=whole.backbone,
        neck=whole.neck,
        bbox_head=dict(
            type='mmdet.FCOSHead',
            num_classes=CLASSES,
            in_channels=width,
            feat_channels=width,
            stacked_convs=1,
            strides=[4, 8, 16],
            regress_ranges=((-1, 16), (16, 32), (32, 1e8)),
            norm_cfg=dict(type='GN', num_groups=2),
            loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='mmdet.IoULoss'),
            loss_centerness=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
        )
        | head,
        train_cfg=None,
        test_cfg=dict(
            nms_pre=50,
            min_bbox_size=0,
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=5,
        ),
    )


def atss(base: int = 4, width: int = 8, kind: str = 'ATSS') -> dict[str, Any]:
    """ATSS, or GFL, with one anchor at a point."""
    model = retinanet(base, width)
    model['type'] = f'mmdet.{kind}'
    head = model['bbox_head']
    head.update(type=f'mmdet.{kind}Head', norm_cfg=dict(type='GN', num_groups=2))
    head['anchor_generator'].update(ratios=[1.0])
    if kind == 'ATSS':
        head['loss_centerness'] = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True)
        head['loss_bbox'] = dict(type='mmdet.GIoULoss')
    else:
        head.pop('bbox_coder')
        head['loss_cls'] = dict(type='mmdet.QualityFocalLoss', use_sigmoid=True)
        head['loss_dfl'] = dict(type='mmdet.DistributionFocalLoss')
        head['loss_bbox'] = dict(type='mmdet.GIoULoss')
    model['train_cfg']['assigner'] = dict(type='mmdet.ATSSAssigner', topk=9)
    return model


def gfl(base: int = 4, width: int = 8) -> dict[str, Any]:
    """GFL on the same levels."""
    return atss(base, width, 'GFL')


def retinanet(base: int = 4, width: int = 8, **head: Any) -> dict[str, Any]:
    """RetinaNet with two anchors at a point."""
    model = fcos(base, width)
    model['type'] = 'mmdet.RetinaNet'
    model['bbox_head'] = (
        dict(
            type='mmdet.RetinaHead',
            num_classes=CLASSES,
            in_channels=width,
            feat_channels=width,
            stacked_convs=1,
            anchor_generator=dict(
                type='mmdet.AnchorGenerator',
                scales=[4],
                ratios=[0.5, 1.0],
                strides=[4, 8, 16],
            ),
            bbox_coder=dict(type='mmdet.DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='mmdet.L1Loss'),
        )
        | head
    )
    model['train_cfg'] = dict(
        assigner=dict(
            type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0
        ),
        sampler=dict(type='mmdet.PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    )
    return model


def rtmdet(base: int = 4, width: int = 8) -> dict[str, Any]:
    """RTMDet with the norms of its head apart, on the same levels."""
    model = fcos(base, width)
    model['type'] = 'mmdet.RTMDet'
    model['use_syncbn'] = False
    model['bbox_head'] = dict(
        type='mmdet.RTMDetSepBNHead',
        num_classes=CLASSES,
        in_channels=width,
        feat_channels=width,
        stacked_convs=1,
        with_objectness=False,
        exp_on_reg=True,
        anchor_generator=dict(
            type='mmdet.MlvlPointGenerator', offset=0, strides=[4, 8, 16]
        ),
        bbox_coder=dict(type='mmdet.DistancePointBBoxCoder'),
        loss_cls=dict(type='mmdet.QualityFocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='mmdet.GIoULoss'),
    )
    model['train_cfg'] = dict(
        assigner=dict(type='mmdet.DynamicSoftLabelAssigner', topk=9),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    )
    return model
