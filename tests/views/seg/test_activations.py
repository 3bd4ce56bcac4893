"""Classes of a sigmoid under classes of a softmax: a loss may not need to know."""

from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.tiny import config, distiller, teacher_of
from tests.distillers.tiny_seg import head, losses_of, segmentor

SIGMOID = dict(loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True))


def sigmoid() -> dict[str, Any]:
    """As FastSCNN trains its classes."""
    return segmentor(decode=head('FCNHead', 8, num_convs=1) | SIGMOID)


def pairs(loss: str) -> dict[str, Any]:
    return dict(a=dict(view='seg.logits', loss=dict(type=loss)))


def test_channel_wise_distillation_does_not_need_it() -> None:
    model = distiller(pairs('CWDLoss'), sigmoid(), teacher_of(segmentor(8)))
    value = losses_of(model)['loss_kd_a']
    assert value > 0
    value.backward()
    assert model.student.decode_head.conv_seg.weight.grad.abs().sum() > 0
    assert model.pairs[0].tensors[0].context.activation is None
    assert model.pairs[0].view.requires_same_classes


@pytest.mark.parametrize('loss', ['PixelWiseLoss', 'KDLoss', 'HintLoss'])
def test_others_do(loss: str) -> None:
    message = (
        r'model\.pairs\.a\.loss: the student trains its classes by a sigmoid, the '
        rf'teacher by a softmax: {loss} cannot compare their logits\. Set the same '
        r"use_sigmoid in both decode_head\.loss_decode, or use .*type='CWDLoss'"
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs(loss), sigmoid(), teacher_of(segmentor(8))))


def test_of_two_alike_every_loss_knows() -> None:
    model = MODELS.build(config(pairs('KDLoss'), sigmoid(), teacher_of(sigmoid())))
    assert model.pairs[0].tensors[0].context.activation == 'sigmoid'
