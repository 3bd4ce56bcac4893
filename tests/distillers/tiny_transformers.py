"""Transformers, and RTMDet, of a few thousand weights."""

from typing import Any

from .tiny import CLASSES, faster_rcnn

_COSTS = [
    dict(type='mmdet.FocalLossCost', weight=2.0),
    dict(type='mmdet.BBoxL1Cost', weight=5.0, box_format='xywh'),
    dict(type='mmdet.IoUCost', iou_mode='giou', weight=2.0),
]


def rtmdet(width: int = 8, **head: Any) -> dict[str, Any]:
    """RTMDet on three levels, its strides those of the other tiny detectors."""
    common = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU', inplace=True))
    whole = faster_rcnn(base=width // 2)
    whole.backbone.frozen_stages = -1
    return dict(
        type='mmdet.RTMDet',
        data_preprocessor=whole.data_preprocessor,
        backbone=whole.backbone,
        neck=dict(
            type='mmdet.CSPNeXtPAFPN',
            in_channels=[width // 2, width, 2 * width],
            out_channels=width,
            num_csp_blocks=1,
            expand_ratio=0.5,
            **common,
        ),
        bbox_head=dict(
            type='mmdet.RTMDetSepBNHead',
            num_classes=CLASSES,
            in_channels=width,
            feat_channels=width,
            stacked_convs=1,
            anchor_generator=dict(
                type='mmdet.MlvlPointGenerator', offset=0, strides=[4, 8, 16]
            ),
            bbox_coder=dict(type='mmdet.DistancePointBBoxCoder'),
            loss_cls=dict(type='mmdet.QualityFocalLoss', use_sigmoid=True, beta=2.0),
            loss_bbox=dict(type='mmdet.GIoULoss'),
            with_objectness=False,
            exp_on_reg=True,
            share_conv=True,
            pred_kernel_size=1,
            **common,
        )
        | head,
        train_cfg=dict(
            assigner=dict(type='mmdet.DynamicSoftLabelAssigner', topk=4),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(
            nms_pre=50,
            min_bbox_size=0,
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=5,
        ),
    )


def deformable_detr(base: int = 4, width: int = 16) -> dict[str, Any]:
    """Deformable DETR on three levels of a ChannelMapper."""
    whole = faster_rcnn(base=base)
    attention = dict(embed_dims=width, num_heads=2, num_levels=3, num_points=2)
    ffn = dict(embed_dims=width, feedforward_channels=32, ffn_drop=0.1)
    return dict(
        type='mmdet.DeformableDETR',
        num_queries=8,
        num_feature_levels=3,
        data_preprocessor=whole.data_preprocessor,
        backbone=whole.backbone,
        neck=dict(
            type='mmdet.ChannelMapper',
            in_channels=[base, 2 * base, 4 * base],
            kernel_size=1,
            out_channels=width,
            act_cfg=None,
            norm_cfg=dict(type='GN', num_groups=2),
            num_outs=3,
        ),
        encoder=dict(
            num_layers=1,
            layer_cfg=dict(
                self_attn_cfg=dict(**attention, batch_first=True), ffn_cfg=ffn
            ),
        ),
        decoder=dict(
            num_layers=2,
            return_intermediate=True,
            layer_cfg=dict(
                self_attn_cfg=dict(
                    embed_dims=width, num_heads=2, dropout=0.1, batch_first=True
                ),
                cross_attn_cfg=dict(**attention, batch_first=True),
                ffn_cfg=ffn,
            ),
            post_norm_cfg=None,
        ),
        positional_encoding=dict(num_feats=width // 2, normalize=True, offset=-0.5),
        bbox_head=dict(
            type='mmdet.DeformableDETRHead',
            num_classes=CLASSES,
            sync_cls_avg_factor=True,
            loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='mmdet.L1Loss', loss_weight=5.0),
            loss_iou=dict(type='mmdet.GIoULoss', loss_weight=2.0),
            embed_dims=width,
        ),
        train_cfg=dict(
            assigner=dict(type='mmdet.HungarianAssigner', match_costs=_COSTS)
        ),
        test_cfg=dict(max_per_img=5),
    )


def dino(base: int = 4, width: int = 256) -> dict[str, Any]:
    """DINO, with queries from the memory and denoising ones.

    The original family embeds positions for this width and no other.
    """
    model = deformable_detr(base, width)
    model.update(type='mmdet.DINO', with_box_refine=True, as_two_stage=True)
    model['bbox_head'] = model['bbox_head'] | dict(type='mmdet.DINOHead')
    model['dn_cfg'] = dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=4),
    )
    return model


def detr(base: int = 4, width: int = 16) -> dict[str, Any]:
    """DETR: one level, and softmax classes with one for no object."""
    model = deformable_detr(base, width)
    del model['num_feature_levels']
    attention = dict(embed_dims=width, num_heads=2, dropout=0.1, batch_first=True)
    ffn = dict(
        embed_dims=width,
        feedforward_channels=32,
        num_fcs=2,
        ffn_drop=0.1,
        act_cfg=dict(type='ReLU', inplace=True),
    )
    model['type'] = 'mmdet.DETR'
    model['backbone'] = model['backbone'] | dict(out_indices=(2,))
    model['neck'] = model['neck'] | dict(in_channels=[4 * base], num_outs=1)
    model['encoder'] = dict(
        num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)
    )
    model['decoder'] = dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
    )
    model['bbox_head'] = model['bbox_head'] | dict(
        type='mmdet.DETRHead',
        sync_cls_avg_factor=False,
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss', bg_cls_weight=0.1, class_weight=1.0
        ),
    )
    costs = [dict(type='mmdet.ClassificationCost', weight=1.0), *_COSTS[1:]]
    model['train_cfg'] = dict(
        assigner=dict(type='mmdet.HungarianAssigner', match_costs=costs)
    )
    return model
