"""Rounds of pruning, and a student as wide as what they leave."""

from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.compression.pruning import channels_of, narrowed_model
from kd_plugins.compression.pruning.planner import (
    plan_student,
    planned_width,
    rounds_for,
    sparsity_after,
)
from kd_plugins.compression.pruning.trace import trace
from kd_plugins.errors import ConfigError
from tests.compression.pruning.models import built, config, images


def test_sparsity_after_rounds_of_a_fifth() -> None:
    expected = [0.2, 0.36, 0.488, 0.5904, 0.67232, 0.737856, 0.790285]
    found = [sparsity_after(rounds) for rounds in range(1, 8)]
    assert found == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(
    ('sparsity', 'rounds'),
    [(0.8, 7), (0.36, 2), (0.59, 4), (0.0, 0), (0.11, 1)],
)
def test_rounds_that_come_nearest(sparsity: float, rounds: int) -> None:
    assert rounds_for(sparsity) == rounds
    distances = [abs(sparsity_after(each) - sparsity) for each in range(12)]
    assert distances[rounds] == min(distances)


def test_a_sparsity_that_no_round_reaches() -> None:
    with pytest.raises(ConfigError, match='sparsity must be below 1'):
        rounds_for(1.0)


def test_a_width_by_hand() -> None:
    assert planned_width(1431, 3 * 3, 3) == 53
    assert planned_width(9 * 20, 3 * 3, 1) == 20  # depthwise: k^2 c
    assert planned_width(0, 9, 64) == 1


@pytest.mark.parametrize('name', ['pspnet', 'frcnn', 'gfl'])
def test_an_unpruned_teacher_has_a_student_of_its_own_widths(name: str) -> None:
    model = built(config(name))
    assert channels_of(model, plan_student(model, images())) == {}


def sparse(name: str) -> Any:
    """A model, half of whose backbone is gone, evenly."""
    model = built(config(name))
    for part in (model.backbone,):
        for layer in part.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.data.view(-1)[::2] = 0
    return model


def test_layers_are_planned_as_they_run() -> None:
    model = sparse('pspnet')
    planned = plan_student(model, images())
    stem = planned.backbone.stem
    # 4 x 3 x 9 weights, half of them left, of 3 channels: 2. Then 4 x 4 x 9, of these
    # 2 channels: 4.
    assert [stem[0].out_channels, stem[3].out_channels] == [2, 4]
    # 8 x 4 x 9 of 4 channels: 4. Its sum with the second convolutions of both blocks,
    # which are not planned yet and read 8 channels: 4 each.
    assert stem[6].out_channels == 4
    layer = planned.backbone.layer1
    assert layer[0].conv2.out_channels == layer[1].conv2.out_channels == 4
    # 8 x 8 x 9, half, of 4 channels: 8.
    assert layer[0].conv1.out_channels == 8
    assert planned.decode_head.conv_seg.out_channels == 13
    assert planned.decode_head.bottleneck.conv.out_channels == 16  # no part of it
    outputs = zip(
        trace(model, images()).outputs, trace(planned, images()).outputs, strict=True
    )
    assert all(one.shape == other.shape for one, other in outputs)


def test_layers_that_are_added_take_the_largest_width() -> None:
    model = built(config('pspnet'))
    layer = model.backbone.layer1[0].conv2
    layer.weight.data.view(-1)[::2] = 0  # the other block's is whole
    assert channels_of(model, plan_student(model, images())) == {}


def test_a_detectors_student_is_a_config() -> None:
    cfg, model = config('frcnn'), sparse('frcnn')
    channels = channels_of(model, plan_student(model, images(), ['backbone']))
    assert channels and not any(name.startswith('rpn_head') for name in channels)
    student = built(
        Config({**cfg.to_dict(), 'model': narrowed_model(cfg.model, channels)})
    )
    before, after = (
        sum(each.numel() for each in one.backbone.parameters())
        for one in (model, student)
    )
    assert 0.3 * before < after < 0.7 * before
