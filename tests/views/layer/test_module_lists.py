"""Towers of one-stage heads are lists of layers: a pair reads them level by level."""

from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from tests.distillers.tiny import distiller, observed, raw_batch, teacher_of
from tests.distillers.tiny_dense import gfl, rtmdet

TOWER = 'bbox_head.cls_convs'


def two_convolutions(model: dict[str, Any]) -> dict[str, Any]:
    model['bbox_head']['stacked_convs'] = 2
    return model


def levels_by_hand(model: Any, features: tuple[Tensor, ...]) -> list[Tensor]:
    """What the tower gives for each level, by its convolutions themselves."""
    towers = model.bbox_head.cls_convs
    levels = []
    for number, feature in enumerate(features):
        apart = isinstance(towers[0], torch.nn.ModuleList)  # RTMDet: one a level
        for convolution in towers[number] if apart else towers:
            feature = convolution(feature)
        levels.append(feature)
    return levels


@pytest.mark.parametrize('detector', [gfl, rtmdet])
def test_a_tower_has_as_many_levels_as_the_pyramid(detector: Any) -> None:
    pair = dict(layer=TOWER, loss=dict(type='HintLoss'))
    adapted = pair | dict(adapter=dict(type='ConvAdapter'))
    model = distiller(
        dict(a=adapted),
        two_convolutions(detector()),
        teacher_of(two_convolutions(detector(width=16))),
    )
    names = [spec.name for spec in model.pairs[0].tensors]
    assert names == [f'{TOWER}[{level}]' for level in range(3)]
    with observed(model) as seen:
        matched = [item for item in seen.matched['a'] if item is not None]
        with torch.no_grad():
            features = seen.run.model.extract_feat(seen.inputs)
            expected = levels_by_hand(seen.run.model, features)
    for item, level in zip(matched, expected, strict=True):
        torch.testing.assert_close(item.teacher, level)
        assert item.student.shape == (2, 8, *level.shape[2:])
        assert item.student.requires_grad and not item.teacher.requires_grad


@pytest.mark.parametrize('value', ['output', 'input'])
@pytest.mark.parametrize('detector', [gfl, rtmdet])
def test_a_pair_of_towers_trains(detector: Any, value: str) -> None:
    pair = dict(layer=TOWER, value=value, loss=dict(type='HintLoss'), per_level=True)
    student, teacher = (two_convolutions(detector()) for _ in range(2))
    model = distiller(dict(a=pair), student, teacher_of(teacher))
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    before = {name: item.clone() for name, item in model.student.named_parameters()}
    for _ in range(2):
        logs = model.train_step(raw_batch(), optimizer)
        levels = [key for key in logs if key.startswith('loss_kd_a')]
        assert levels == ['loss_kd_a_0', 'loss_kd_a_1', 'loss_kd_a_2']
        assert all(logs[key] > 0 for key in levels)
    after = dict(model.student.named_parameters())
    moved = [
        name for name, item in before.items() if not torch.equal(item, after[name])
    ]
    assert any(name.startswith('bbox_head.cls_convs') for name in moved)
    assert any(name.startswith('backbone') for name in moved)
