"""Losses whose blocks the student's optimiser trains: a block a level, in any pair."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.engine.optimizer import own_parameters
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import (
    DistillationLoss,
    FBKDLoss,
    FGDLoss,
    LossContext,
    MGDLoss,
    StepData,
)
from kd_plugins.losses._levels import blocks_by_level, read_channels

from ..distillers.tiny import distiller, losses_of
from ._common import backward

LOSSES = [FBKDLoss, FGDLoss, MGDLoss]
BOXES = SimpleNamespace(gt_instances=SimpleNamespace(bboxes=torch.ones(1, 4)))

learned = pytest.mark.parametrize('kind', LOSSES)


def context_of(level: int | None) -> LossContext:
    return LossContext(
        level=level,
        step=StepData(inputs=torch.zeros(2, 3, 32, 32), samples=[BOXES] * 2),
    )


def maps(channels: int = 4) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, 2, channels, 4, 4)
    return student.requires_grad_(), teacher.requires_grad_()


def blocks_of(loss: nn.Module) -> nn.ModuleDict:
    (blocks,) = (item for item in loss.children() if isinstance(item, nn.ModuleDict))
    return blocks


@learned
def test_each_level_has_a_block_of_its_own(kind: type[DistillationLoss]) -> None:
    loss = kind(channels=4, levels=3)
    blocks = blocks_of(loss)
    assert list(blocks) == ['0', '1', '2']
    student, teacher = maps()
    backward(loss(student, teacher, context=context_of(1)))
    for level, block in blocks.items():
        gradients = [parameter.grad for parameter in block.parameters()]
        # DDP waits for all of them: an exact 0 where the level is another one.
        assert all(item is not None for item in gradients)
        assert any(item.any() for item in gradients) == (level == '1')
    assert student.grad is not None and student.grad.any()
    assert teacher.grad is None


@learned
def test_levels_may_be_listed_as_in_the_pair(kind: type[DistillationLoss]) -> None:
    loss = kind(channels=4, levels=[3, 1])
    assert list(blocks_of(loss)) == ['3', '1']
    loss(*maps(), context=context_of(3))


@learned
def test_a_single_block_is_for_tensors_of_no_level(
    kind: type[DistillationLoss],
) -> None:
    kind(channels=4)(*maps(), context=context_of(None))
    message = r'levels: the loss has 2, .* Set levels=1'
    with pytest.raises(ConfigError, match=message):
        kind(channels=4, levels=2)(*maps(), context=context_of(None))


@learned
def test_a_level_without_block_is_refused(kind: type[DistillationLoss]) -> None:
    message = (
        r'levels: the loss has blocks for 0, 1, and none for level 2. '
        r'Set levels=3, or list those of the pair: levels=\[0, 1, 2\]'
    )
    with pytest.raises(ConfigError, match=message):
        kind(channels=4, levels=2)(*maps(), context=context_of(2))


@learned
def test_other_channels_are_refused(kind: type[DistillationLoss]) -> None:
    message = (
        r'channels=256, and the features to compare, \(2, 4, 4, 4\), have 4. '
        r'Set channels=4; levels of different channels need a pair each'
    )
    with pytest.raises(ShapeError, match=message):
        kind()(*maps(), context=context_of(0))


@pytest.mark.parametrize(
    'levels', [0, -1, True, 1.5, 'all', [], [0, 0], [-1], [True], ['0'], None]
)
@learned
def test_impossible_levels_are_refused(
    kind: type[DistillationLoss], levels: object
) -> None:
    with pytest.raises(ConfigError, match='levels must be how many, 1 to 100, or a l'):
        kind(channels=4, levels=levels)


@pytest.mark.parametrize('channels', [0, 2.5, None, True])
@learned
def test_impossible_channels_are_refused(
    kind: type[DistillationLoss], channels: object
) -> None:
    with pytest.raises(ConfigError, match='channels must be a whole number >= '):
        kind(channels=channels)


def test_blocks_get_their_index_among_the_levels() -> None:
    indices: list[int] = []

    def build(index: int) -> nn.Module:
        indices.append(index)
        return nn.Identity()

    blocks_by_level([4, 2], build)
    blocks_by_level(2, build)
    assert indices == [0, 1, 0, 1]
    assert read_channels(2, minimum=2) == 2


# In a distiller: levels of the neck, and what the pair fills in.


def pair(kind: type[DistillationLoss], **options: Any) -> dict[str, Any]:
    return dict(layer='neck', loss=dict(type=kind.__name__, **options))


@pytest.mark.host
def test_they_learn_with_the_student_at_every_level() -> None:
    model = distiller({kind.__name__: pair(kind) for kind in LOSSES})
    value = torch.stack(
        [item for name, item in losses_of(model).items() if 'loss_kd_' in name]
    ).sum()
    backward(value)
    stepped = own_parameters(model)
    exported = model.student_state_dict(model.state_dict())
    assert list(exported) == list(model.student.state_dict())
    for name, loss in model.losses.items():
        assert loss.channels == 8
        for key, parameter in loss.named_parameters():
            assert stepped[f'losses.{name}.{key}'] is parameter
            assert f'losses.{name}.{key}' in model.state_dict()
            assert parameter.grad is not None and parameter.grad.isfinite().all()
        for block in blocks_of(loss).values():
            assert any(parameter.grad.any() for parameter in block.parameters())
    (teacher,) = model.teachers.values()
    assert all(item.grad is None for item in teacher.model.parameters())


@pytest.mark.host
def test_chosen_levels_are_those_of_the_pair() -> None:
    chosen = [1, 2]
    pairs = {kind.__name__: dict(pair(kind), levels=chosen) for kind in LOSSES}
    model = distiller(pairs)
    assert all(list(blocks_of(loss)) == ['1', '2'] for loss in model.losses.values())
    losses = losses_of(model)
    assert all(losses[f'loss_kd_{name}'] > 0 for name in pairs)


@pytest.mark.host
def test_a_pair_says_what_to_set() -> None:
    message = (
        r'model.pairs.few.loss at neck\[1\]: levels: .* Set levels=2(.|\n)*'
        r'model.pairs.other.loss at neck\[0\]: channels=6, .* Set channels=8'
    )
    with pytest.raises(ConfigError, match=message):
        distiller(
            dict(few=pair(MGDLoss, levels=1), other=pair(MGDLoss, channels=6)),
        )


@pytest.mark.host
def test_masks_of_pixels_are_not_drawn_from_the_students_stream() -> None:
    states = []
    for loss in (
        pair(MGDLoss),
        dict(layer='neck', loss=dict(type='HintLoss')),
    ):
        losses_of(distiller(dict(a=loss)))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
