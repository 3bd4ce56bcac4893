"""What a layer reads: pre-activations, before a ReLU in place overwrites them."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kd_plugins.errors import ConfigError
from kd_plugins.losses import LossContext, negative_mean, partial_l2
from kd_plugins.registry import MODELS
from tests.distillers.tiny import (
    config,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    teacher_of,
)

WIDE = teacher_of(faster_rcnn(base=8, width=16))
BLOCK = 'backbone.layer2.1'
# The host starts the last norm of a block at 0: its branch then adds nothing.
ALIVE = faster_rcnn(backbone=dict(zero_init_residual=False))


def pair(layer: Any = f'{BLOCK}.relu', **options: Any) -> dict[str, Any]:
    view = dict(type='layer', layer=layer, value='input') | options.pop('view', {})
    return dict(view=view, loss=dict(type='HintLoss')) | options


def test_a_pair_of_layers_may_say_it_itself() -> None:
    short = dict(layer=f'{BLOCK}.relu', value='input', levels=[1])
    losses = losses_of(
        distiller(
            dict(
                a=dict(short, loss=dict(type='HintLoss')), b=pair(view=dict(levels=[1]))
            )
        )
    )
    assert losses['loss_kd_a'] == losses['loss_kd_b'] > 0


def ofd(**options: Any) -> dict[str, Any]:
    return pair(
        view=dict(levels=[1]),
        adapter=dict(type='ConvAdapter', norm=True),
        loss=dict(type='OFDLoss', **options),
    )


def test_the_last_call_of_a_blocks_relu_reads_the_sum() -> None:
    pairs = dict(before=pair(view=dict(levels=[1])), after=dict(layer=BLOCK), bn=pair())
    pairs['after']['loss'] = dict(type='HintLoss')
    model = distiller(pairs, student=ALIVE, teacher=teacher_of(ALIVE))
    with observed(model) as seen:
        before, after = seen.first('before'), seen.first('after')
        backbone = seen.run.model.backbone
        with torch.no_grad():
            stem = backbone.relu(backbone.norm1(backbone.conv1(seen.inputs)))
            identity = backbone.layer2[0](backbone.layer1(backbone.maxpool(stem)))
            block = backbone.layer2[1]
            inner = block.norm1(block.conv1(identity))
            outer = block.norm2(block.conv2(F.relu(inner))) + identity
        torch.testing.assert_close(before.teacher, outer)
        torch.testing.assert_close(seen.matched['bn'][0].teacher, inner)
        for own, other in (
            (before.student, after.student),
            (before.teacher, after.teacher),
        ):
            assert (own < 0).any()
            assert torch.equal(own.relu(), other)
        assert before.student.requires_grad and not before.teacher.requires_grad
    places = {item.name: item.tensors for item in model.pairs}
    assert [place.name for place in places['bn']] == [
        'input of backbone.layer2.1.relu[0]',
        'input of backbone.layer2.1.relu[1]',
    ]
    assert [place.name for place in places['before']] == [
        'input of backbone.layer2.1.relu'
    ]


def test_gradient_flows_from_there_to_the_block_and_before() -> None:
    model = distiller(dict(a=pair(view=dict(levels=[1]))), student=ALIVE)
    losses_of(model)['loss_kd_a'].backward()
    backbone = model.student.backbone
    assert backbone.layer2[1].conv2.weight.grad.abs().sum() > 0
    assert backbone.conv1.weight.grad.abs().sum() > 0
    assert backbone.layer3[0].conv1.weight.grad is None


def test_only_what_is_overwritten_is_copied() -> None:
    pairs = dict(a=pair(), b=pair(f'{BLOCK}.conv2'))
    a, b = distiller(pairs).pairs
    for side in ('student', 'teacher'):
        assert a.view.layers[side].recorder.copy
        assert not b.view.layers[side].recorder.copy


def test_other_calls_in_each_model() -> None:
    layer = dict(student='backbone.layer2.1.relu', teacher='backbone.layer2.0.relu')
    levels = dict(student=[1], teacher=[0])
    model = distiller(dict(a=pair(layer, view=dict(levels=levels))))
    norms = model.teachers['teacher'].model.backbone.layer2[0]
    assert model.pairs[0].tensors[0].context.teacher_norm is norms.bn1


@pytest.mark.parametrize(
    ('view', 'message'),
    [
        (
            dict(value='inputs'),
            r"model.pairs.a.view: value must be 'output' or 'input', got 'inputs'",
        ),
        (dict(vale='input'), "view: layer has no argument 'vale'. Close: 'value'"),
        (dict(levels=[2]), r"levels: '.*relu' of the student gives 2 levels.*no 2"),
        (dict(layer=f'{BLOCK}.rel'), r"no layer 'backbone.layer2.1.rel'. Close: .*"),
    ],
)
def test_bad_views(view: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(a=pair(view=view))))


# The teacher's batch norm, and a loss that goes by it


def test_a_block_goes_by_the_last_norm_of_its_own_branch() -> None:
    pairs = dict(
        plain=pair(),
        downsampled=pair('backbone.layer2.0.relu', view=dict(levels=[1])),
        norm=dict(layer='backbone.layer2.0.bn1', loss=dict(type='HintLoss')),
        after=dict(layer='backbone.layer2', loss=dict(type='HintLoss')),
        neck=dict(layer='neck', loss=dict(type='HintLoss')),
    )
    model = distiller(pairs)
    stage = model.teachers['teacher'].model.backbone.layer2
    expected = {
        'plain': [stage[1].bn1, stage[1].bn2],
        'downsampled': [stage[0].bn2],
        'norm': [stage[0].bn1],
        'after': [None],
        'neck': [None] * 3,
    }
    with observed(model) as seen:
        for item in model.pairs:
            norms = [place.context.teacher_norm for place in item.tensors]
            assert norms == expected[item.name]
            told = [found.context.teacher_norm for found in seen.matched[item.name]]
            assert told == norms


def test_margins_are_those_of_the_weights_that_are_loaded() -> None:
    model = distiller(dict(a=ofd(loss_weight=0.5)), teacher=WIDE)
    norm = model.teachers['teacher'].model.backbone.layer2[1].bn2
    built = negative_mean(norm.weight, norm.bias)
    with observed(model) as seen:  # the teacher is loaded here
        own = model.adapters['a'][0](seen.first('a').student)
        expected = partial_l2(
            own, seen.first('a').teacher, margin=negative_mean(norm.weight, norm.bias)
        )
        assert not torch.allclose(negative_mean(norm.weight, norm.bias), built)
    torch.testing.assert_close(losses_of(model)['loss_kd_a'], 0.5 * expected)


def test_nothing_of_the_teacher_is_kept_by_it() -> None:
    model = distiller(dict(a=ofd()), teacher=WIDE)
    losses_of(model)['loss_kd_a'].backward()
    assert model.student.backbone.layer2[1].bn2.weight.grad.abs().sum() > 0
    assert {name.split('.')[0] for name in model.state_dict()} == {
        'student',
        'adapters',
    }
    held = {id(item) for item in model.teachers['teacher'].model.modules()}
    assert not held & {id(item) for item in model.modules()}
    clone = copy.deepcopy(model)  # as EMA does
    (place,), (copied,) = (item.pairs[0].tensors for item in (model, clone))
    assert copied.context.teacher_norm is place.context.teacher_norm
    assert place.context == LossContext(level=1, teacher_level=1)


def test_margins_without_a_batch_norm_are_refused_with_the_key() -> None:
    after = dict(layer=BLOCK, loss=dict(type='OFDLoss'))
    message = r"model.pairs.a.loss at backbone.layer2.1: margin='auto' .*or set margin"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(a=after)))
    after['loss'] = dict(type='OFDLoss', margin=0)
    assert losses_of(distiller(dict(a=after)))['loss_kd_a'] > 0
