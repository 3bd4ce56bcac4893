"""Class logits of one-stage heads, at the same points of both models."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import pixel_wise_divergence
from tests.distillers.tiny import (
    CLASSES,
    batch,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    teacher_of,
)
from tests.distillers.tiny_dense import atss, fcos, gfl, retinanet

pytestmark = pytest.mark.host
MODELS = {'fcos': fcos, 'retinanet': retinanet, 'atss': atss, 'gfl': gfl}


def build(student: Any = None, teacher: Any = None, **teacher_options: Any) -> Any:
    pixel = dict(view='head.logits', loss=dict(type='PixelWiseLoss'))
    return distiller(
        dict(pixel=pixel),
        student=student or fcos(),
        teacher=teacher_of(teacher or fcos(8, 16), **teacher_options),
    )


@pytest.mark.parametrize('kind', MODELS)
def test_levels_are_what_both_heads_give(kind: str) -> None:
    model = build(MODELS[kind](), MODELS[kind](8, 16))
    anchors = 2 if kind == 'retinanet' else 1
    with observed(model) as seen:
        found = [item for item in seen.matched['pixel'] if item is not None]
        teacher = seen.run.model
        with torch.no_grad():
            expected = teacher.bbox_head(teacher.extract_feat(seen.inputs))[0]
    assert [item.student.shape for item in found] == [
        (2 * anchors, CLASSES, side, side) for side in (16, 8, 4)
    ]
    for item, logits in zip(found, expected, strict=True):
        # Anchor by anchor of each image, as the host splits the channels.
        split = logits.reshape(2, anchors, CLASSES, *logits.shape[2:]).flatten(0, 1)
        assert_close(item.teacher, split)
        assert item.student.requires_grad
        assert item.context.activation == 'sigmoid'
    assert [item.context.level for item in found] == [0, 1, 2]


def test_channels_are_those_of_the_hosts_loss() -> None:
    """The host sees (N H W A, K): so do we, in another order."""
    model = build(retinanet(), retinanet(8, 16))
    head = model.student.bbox_head
    seen: list[Any] = []
    head.loss_by_feat_single = _watched(head.loss_by_feat_single, seen)
    with observed(model) as step:
        found = step.matched['pixel'][0]
    assert found is not None
    host = seen[0].permute(0, 2, 3, 1).reshape(2, 16, 16, 2, CLASSES)
    ours = found.student.reshape(2, 2, CLASSES, 16, 16).permute(0, 3, 4, 1, 2)
    assert torch.equal(host, ours)


def _watched(method: Any, seen: list[Any]) -> Any:
    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append(args[0])
        return method(*args, **kwargs)

    return watched


def test_points_on_the_padding_do_not_count() -> None:
    model = build()
    shapes = [sample.metainfo['img_shape'] for sample in batch(model)['data_samples']]
    assert shapes == [(64, 64), (56, 60)]
    with observed(model) as seen:
        for item, stride in zip(seen.matched['pixel'], (4, 8, 16), strict=True):
            assert item is not None and item.mask is not None
            for image, (height, width) in enumerate(shapes):
                for row in range(64 // stride):
                    for column in range(64 // stride):
                        inside = (row + 0.5) * stride < height and (
                            column + 0.5
                        ) * stride < width
                        assert item.mask[image, row, column] == inside
            assert item.mask.sum() == item.count


def test_loss_is_the_mean_over_levels() -> None:
    model = build()
    with observed(model) as seen:
        expected = [
            pixel_wise_divergence(
                item.student, item.teacher, use_sigmoid=True, mask=item.mask
            )
            for item in seen.matched['pixel']
            if item is not None
        ]
    losses = losses_of(model)
    assert_close(losses['loss_kd_pixel'], torch.stack(expected).mean())
    model.parse_losses(losses)[0].backward()
    assert model.student.backbone.conv1.weight.grad.abs().sum() > 0


def test_pair_wise_on_levels_of_the_neck_beside_it() -> None:
    pairs = dict(
        pixel=dict(view='head.logits', loss=dict(type='PixelWiseLoss')),
        pair=dict(layer='neck', loss=dict(type='PairWiseLoss', max_nodes=64)),
    )
    # A loss of affinities needs no adapter, whatever the channels.
    model = distiller(pairs, student=fcos(), teacher=teacher_of(fcos(8, 16)))
    losses = losses_of(model)
    assert losses['loss_kd_pair'] > 0
    assert 'bbox_head' in model.summary()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(teacher=faster_rcnn()),
            r'\(teacher\): FasterRCNN has no bbox_head; views of one-stage heads need',
        ),
        (
            dict(student=faster_rcnn()),
            r'\(student\): FasterRCNN has no bbox_head',
        ),
        (
            dict(teacher=fcos(strides=[8, 16, 32])),
            r'differ: student .* Set the same strides and anchors of bbox_head in both',
        ),
        (dict(teacher=retinanet()), 'the anchors of student and teacher differ'),
        (
            dict(teacher=fcos(num_classes=7)),
            r'the student scores 3 classes, the teacher 7\. Choose a teacher of',
        ),
        (
            dict(input_scale=2.0),
            r'sees its input scaled by 2\.0, .* its points are not',
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)
