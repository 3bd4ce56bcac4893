"""The teacher runs as far as the pairs need it, once, and nothing stays attached."""

from typing import Any

import pytest

from tests.distillers.tiny import (
    batch,
    distiller,
    losses_of,
)


def pair(layer: Any, **options: Any) -> dict[str, Any]:
    return dict(layer=layer, loss=dict(type='HintLoss'), **options)


PARTS = ('backbone', 'neck', 'rpn_head', 'roi_head.bbox_head')
NEVER = ('loss', 'predict', 'loss_and_predict')


@pytest.mark.parametrize(
    ('pairs', 'calls'),
    [
        (dict(a=pair('backbone.layer1')), dict(backbone=1)),
        (dict(a=pair('neck')), dict(backbone=1, neck=1)),
        (
            dict(
                a=pair('neck'),
                b=dict(view='rpn.logits', loss=dict(type='KDLoss')),
                c=dict(view='rpn.deltas', loss=dict(type='DeltaL2Loss')),
            ),
            dict(backbone=1, neck=1, rpn_head=1),
        ),
        (
            dict(
                a=dict(view='roi.logits', loss=dict(type='KDLoss')),
                b=dict(view='roi.deltas', loss=dict(type='DeltaL2Loss')),
                c=pair('roi_head.bbox_head.fc_cls'),
            ),
            {'backbone': 1, 'neck': 1, 'roi_head.bbox_head': 1},
        ),
        ({}, {}),
    ],
    ids=['backbone', 'neck', 'rpn', 'roi', 'nothing'],
)
def test_the_teacher_runs_only_as_far_as_needed(pairs: Any, calls: Any) -> None:
    model = distiller(pairs)
    teacher = model.teachers['teacher'].model
    seen: dict[str, int] = {}
    for part in PARTS:

        def count(*args: Any, part: str = part) -> None:
            seen[part] = seen.get(part, 0) + 1

        teacher.get_submodule(part).register_forward_hook(count)
    for head in (teacher, teacher.rpn_head, teacher.roi_head):
        for name in NEVER:
            setattr(head, name, None)
    teacher.rpn_head.assigner = teacher.roi_head.bbox_assigner = None
    losses_of(model)
    assert seen == calls
    for part, times in calls.items():
        assert times == 1 and part.split('.')[0] in model.summary()


def test_the_student_runs_once() -> None:
    model = distiller(
        dict(a=pair('neck'), b=dict(view='roi.logits', loss=dict(type='KDLoss')))
    )
    calls: list[str] = []
    for part in PARTS:
        model.student.get_submodule(part).register_forward_hook(
            lambda *args, part=part: calls.append(part)
        )
    losses_of(model)
    assert sorted(calls) == sorted(PARTS)


def test_nothing_stays_attached_after_a_step_or_an_error() -> None:
    model = distiller(
        dict(
            a=pair('neck'),
            b=dict(view='roi.logits', loss=dict(type='KDLoss')),
            c=dict(view='rpn.logits', loss=dict(type='KDLoss')),
        )
    )
    prepared = batch(model)
    model(**prepared, mode='loss')
    with pytest.raises(TypeError):
        model(prepared['inputs'], 3, mode='loss')
    for network in (model.student, model.teachers['teacher'].model):
        for module in network.modules():
            assert not module._forward_hooks and not module._forward_pre_hooks
            assert 'get_targets' not in vars(module)
            assert 'loss_and_target' not in vars(module)
