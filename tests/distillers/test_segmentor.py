"""Segmentors of mmseg: pairs of layers, in backbone and heads."""

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS

from .tiny import distiller, hint, teacher_of
from .tiny_seg import cascade, losses_of, segment_batch, segmentor

pytestmark = pytest.mark.host


def layer(path: Any, **options: Any) -> dict[str, Any]:
    return dict(layer=path, loss=dict(type='HintLoss'), **options)


def pspnet(pairs: Any, **options: Any) -> Any:
    return distiller(
        pairs, student=segmentor(), teacher=teacher_of(segmentor(8)), **options
    )


def test_layers_of_backbone_and_heads() -> None:
    pairs = dict(
        hint=layer('backbone', levels=[1], adapter=dict(type='ConvAdapter')),
        bottleneck=layer('decode_head.bottleneck'),
        logits=layer('decode_head.conv_seg'),
        auxiliary=layer('auxiliary_head.conv_seg'),
    )
    model = pspnet(pairs, task_loss_weights={'decode.loss_ce': 0.5})
    losses = losses_of(model)
    assert {'decode.loss_ce', 'aux.loss_ce'} <= set(losses)
    assert all(losses[f'loss_kd_{name}'] > 0 for name in pairs)
    model.parse_losses(losses)[0].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0
    assert 'runs its backbone, decode_head, auxiliary_head' in model.summary()


def test_the_head_as_a_whole_never_fires_in_training() -> None:
    with pytest.raises(ConfigError, match=r"'decode_head' of the student never fires"):
        pspnet(dict(a=layer('decode_head')))


def test_zero_weights_leave_its_dropout_and_steps_as_they_are() -> None:
    pairs = dict(a=layer('backbone', levels=[0], adapter=dict(type='ConvAdapter')))
    pairs['a']['loss'] = dict(type='HintLoss', loss_weight=0.0)
    ours = pspnet(pairs)
    torch.manual_seed(0)
    host = MODELS.build(segmentor())
    host.init_weights()
    host.train()
    states = []
    for model, student in ((ours, ours.student), (host, host)):
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(1)
        for _ in range(3):
            optimizer.zero_grad()
            prepared = segment_batch(model)
            total, _ = model.parse_losses(model(**prepared, mode='loss'))
            total.backward()
            optimizer.step()
        states.append(student.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_cascaded_and_several_heads() -> None:
    student = cascade()
    student['auxiliary_head'] = [student['auxiliary_head']] * 2
    pairs = dict(
        a=layer('decode_head.1.conv_seg'),
        b=layer('auxiliary_head.1.conv_seg'),
        c=layer('decode_head.0.conv_seg', levels=[0]),
    )
    model = distiller(pairs, student=student, teacher=teacher_of(student))
    losses = losses_of(model)
    assert losses['loss_kd_a'] > 0 and losses['loss_kd_b'] > 0


def test_a_detector_does_not_teach_a_segmentor_its_heads() -> None:
    message = r"\(teacher\): FasterRCNN has no layer 'decode_head.conv_seg'"
    with pytest.raises(ConfigError, match=message):
        distiller(dict(a=layer('decode_head.conv_seg')), student=segmentor())
    pair = hint() | dict(layer='backbone', levels=[0, 1])
    model = distiller(dict(a=pair), student=segmentor())
    assert losses_of(model)['loss_kd_a'] > 0
