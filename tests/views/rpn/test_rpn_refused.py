"""RPN heads that cannot be compared are refused by name."""

from typing import Any

import pytest

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.registry import MODELS
from tests.distillers.tiny import (
    config,
    distiller,
    faster_rcnn,
    losses_of,
    teacher_of,
)

PAIRS = dict(
    cls=dict(view='rpn.logits', loss=dict(type='WeightedClassKDLoss')),
    reg=dict(view='rpn.deltas', loss=dict(type='TeacherBoundedLoss')),
)
SOFTMAX = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False)
RETINA = dict(
    type='mmdet.RetinaNet',
    backbone=faster_rcnn().backbone,
    neck=faster_rcnn().neck,
    bbox_head=dict(
        type='mmdet.RetinaHead',
        num_classes=3,
        in_channels=8,
        stacked_convs=1,
        feat_channels=8,
        anchor_generator=faster_rcnn().rpn_head.anchor_generator,
    ),
)
GUIDED = dict(
    type='mmdet.GARPNHead',
    in_channels=8,
    feat_channels=8,
    approx_anchor_generator=dict(
        type='mmdet.AnchorGenerator',
        octave_base_scale=8,
        scales_per_octave=3,
        ratios=[1.0],
        strides=[4, 8, 16],
    ),
    square_anchor_generator=dict(
        type='mmdet.AnchorGenerator', ratios=[1.0], scales=[8], strides=[4, 8, 16]
    ),
)


def guided() -> Any:
    model = faster_rcnn()
    model.rpn_head = GUIDED
    model.train_cfg.rpn.update(
        ga_assigner=dict(
            type='mmdet.ApproxMaxIoUAssigner',
            pos_iou_thr=0.7,
            neg_iou_thr=0.3,
            min_pos_iou=0.3,
        ),
        ga_sampler=model.train_cfg.rpn.sampler,
        center_ratio=0.2,
        ignore_ratio=0.5,
    )
    return model


def other_anchors(**changes: Any) -> Any:
    return faster_rcnn(rpn_head__anchor_generator=changes)


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        (
            other_anchors(scales=[8]),
            r'model.pairs.cls.view: the anchors of student and teacher differ: student '
            r'AnchorGenerator[\s\S]*Set the same rpn_head.anchor_generator',
        ),
        (other_anchors(ratios=[1.0]), 'anchors of student and teacher differ'),
        (other_anchors(strides=[4, 8]), 'anchors of student and teacher differ'),
        (RETINA, r'model.pairs.cls.view \(teacher\): RetinaNet has no rpn_head;'),
        (guided(), r'\(teacher\): FasterRCNN has a GARPNHead; .* need an RPNHead'),
        (
            faster_rcnn(rpn_head__loss_cls=SOFTMAX),
            'student has 1 columns of logits, that of the teacher 2. Set the same '
            'use_sigmoid',
        ),
    ],
    ids=['scales', 'ratios', 'strides', 'one-stage', 'guided', 'softmax'],
)
def test_heads_that_do_not_match_are_refused(teacher: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(cls=PAIRS['cls']), teacher=teacher_of(teacher)))


def test_frozen_rpn_is_a_dead_pair() -> None:
    model = distiller(PAIRS)
    model.student.requires_grad_(False)
    model.student.roi_head.requires_grad_(True)
    message = r'model.pairs.cls: rpn.logits of the student carries no gradient.*frozen'
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


def test_an_rpn_without_targets_has_nothing_to_match() -> None:
    model = distiller(dict(cls=PAIRS['cls']))
    model.student.forward = lambda *args, **kwargs: {}  # computes no losses
    with pytest.raises(DistillationError, match=r"'rpn.logits' has nothing to match"):
        losses_of(model)
