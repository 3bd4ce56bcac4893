"""Batches that lack boxes or RoIs, and heads that are not known."""

from typing import Any

import pytest

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.registry import MODELS
from tests.distillers.tiny import (
    CLASSES,
    bbox_head,
    cascade_rcnn,
    config,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    teacher_of,
)


def view(value: str, **options: Any) -> dict[str, Any]:
    return dict(type=f'roi.{value}', **options)


def pairs(**options: Any) -> dict[str, Any]:
    return dict(
        cls=dict(view=view('logits', **options), loss=dict(type='KDLoss')),
        reg=dict(view=view('deltas', **options), loss=dict(type='TeacherBoundedLoss')),
    )


@pytest.mark.parametrize(
    'boxes', [([[4, 6, 28, 30]], []), ([], [])], ids=['one image', 'no image']
)
def test_images_without_boxes(boxes: Any) -> None:
    every = pairs()
    every['reg']['loss']['margin'] = 100.0  # none is good enough
    model = distiller(every)
    losses = losses_of(model, boxes=boxes)
    assert losses['loss_kd_cls'] > 0
    assert (losses['loss_kd_reg'] > 0) == bool(boxes[0])
    model.parse_losses(losses)[0].backward()
    for parameter in model.student.roi_head.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_no_rois_at_all_give_zero_with_a_graph() -> None:
    student = faster_rcnn(train_cfg__rpn_proposal=dict(min_bbox_size=1000))
    every = dict(
        **pairs(), features=dict(view='roi.features', loss=dict(type='HintLoss'))
    )
    model = distiller(every, student=student)
    with observed(model, boxes=([], [])) as seen:
        assert seen.first('cls').student.shape == (0, CLASSES + 1)
        assert seen.first('reg').student.shape == (0, 4)
    losses = losses_of(model, boxes=([], []))
    for name in every:
        assert losses[f'loss_kd_{name}'].item() == 0
        assert losses[f'loss_kd_{name}'].requires_grad
    model.parse_losses(losses)[0].backward()


def test_a_cascade_that_stops_early_gives_zero_with_a_graph() -> None:
    student = cascade_rcnn(train_cfg__rpn_proposal=dict(min_bbox_size=1000))
    pair = dict(
        view='roi.features',
        adapter=dict(type='LinearAdapter'),
        loss=dict(type='HintLoss'),
    )
    layer = dict(layer='roi_head.bbox_head.1.shared_fcs.1', loss=dict(type='HintLoss'))
    model = distiller(
        dict(a=pair, b=layer), student=student, teacher=teacher_of(cascade_rcnn())
    )
    with observed(model, boxes=([], [])) as seen:
        stops = seen.matched['a'][1] is None
        assert stops == (seen.matched['b'] == [None])
    losses = losses_of(model, boxes=([], []))
    losses['loss_kd_a'].backward()
    assert losses['loss_kd_a'].item() == 0
    for parameter in model.adapters.parameters():
        assert parameter.grad is not None


# Heads that are not known.

DOUBLE = faster_rcnn()
DOUBLE.roi_head.update(type='mmdet.DoubleHeadRoIHead', reg_roi_scale_factor=1.3)
DOUBLE.roi_head.bbox_head = bbox_head(
    16,
    8,
    type='mmdet.DoubleConvFCBBoxHead',
    num_convs=1,
    num_fcs=1,
    conv_out_channels=8,
)
SEESAW = faster_rcnn(
    roi_head__bbox_head=dict(
        loss_cls=dict(type='mmdet.SeesawLoss', num_classes=CLASSES)
    )
)
FOCAL = faster_rcnn(
    roi_head__bbox_head=dict(loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True))
)
NO_BOXES = faster_rcnn(roi_head__bbox_head=dict(with_reg=False))
RPN_ONLY = dict(
    type='mmdet.RPN',
    backbone=faster_rcnn().backbone,
    neck=faster_rcnn().neck,
    rpn_head=faster_rcnn().rpn_head,
    train_cfg=dict(rpn=faster_rcnn().train_cfg.rpn),
    test_cfg=dict(rpn=faster_rcnn().test_cfg.rpn),
)


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        (DOUBLE, r'\(teacher\): DoubleHeadRoIHead of FasterRCNN runs its box head in'),
        (SEESAW, 'SeesawLoss of Shared2FCBBoxHead has class channels of its own'),
        (
            FOCAL,
            r'\(teacher\): FocalLoss of Shared2FCBBoxHead trains its classes by a '
            'sigmoid.*Set loss_cls=',
        ),
        (RPN_ONLY, 'RPN has no RoI head, as two-stage detectors have'),
    ],
    ids=['double', 'seesaw', 'focal', 'no head'],
)
def test_other_heads_are_refused_by_name(teacher: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(cls=pairs()['cls']), teacher=teacher_of(teacher)))


@pytest.mark.parametrize('teacher', [FOCAL, SEESAW], ids=['focal', 'seesaw'])
def test_any_classifier_may_teach_what_is_no_logit(teacher: Any) -> None:
    features = dict(view='roi.features', loss=dict(type='HintLoss'))
    own = dict(reg=pairs()['reg'], features=features)
    losses = losses_of(distiller(own, teacher=teacher_of(teacher)))
    assert losses['loss_kd_reg'] >= 0
    assert losses['loss_kd_features'] > 0


def test_a_head_without_boxes_has_logits_and_no_deltas() -> None:
    teacher = teacher_of(NO_BOXES)
    model = distiller(dict(cls=pairs()['cls']), teacher=teacher)
    assert losses_of(model)['loss_kd_cls'] > 0
    message = r'\(teacher\): Shared2FCBBoxHead predicts no box deltas \(with_reg=Fal'
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(reg=pairs()['reg']), teacher=teacher))


def test_a_roi_head_that_does_not_run_has_nothing_to_match() -> None:
    model = distiller(dict(cls=pairs()['cls']))
    model.student.forward = lambda *args, **kwargs: {}
    with pytest.raises(DistillationError, match=r"'roi.logits' has nothing to match"):
        losses_of(model)


@pytest.mark.parametrize('name', ['cls', 'reg'])
def test_a_roi_head_without_targets_has_nothing_to_match(name: str) -> None:
    from mmdet.structures.bbox import bbox2roi

    own = {name: pairs()[name]}
    own['features'] = dict(view='roi.features', loss=dict(type='HintLoss'))
    model = distiller(own)
    head = model.student.roi_head

    def bbox_loss(features: Any, sampled: Any) -> dict[str, Any]:
        """Of a head that goes its own way to its losses."""
        rois = bbox2roi([result.priors for result in sampled])
        return dict(head._bbox_forward(features, rois), loss_bbox={})

    head.bbox_loss = bbox_loss
    with pytest.raises(DistillationError, match="'loss_and_target', so 'roi"):
        losses_of(model)
    model = distiller(dict(features=own['features']))
    head = model.student.roi_head
    head.bbox_loss = bbox_loss
    assert losses_of(model)['loss_kd_features'] > 0
