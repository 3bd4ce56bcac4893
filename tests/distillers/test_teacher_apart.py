"""The teacher takes part in no training: not its weights, modes, copies or files."""

import copy
from pathlib import Path

import pytest
import torch

from kd_plugins.registry import MODELS

from .runs import assert_same_weights, train
from .tiny import all_pairs, config, distiller, losses_of, weights_of

OURS = dict(runner_type='kd_plugins.DistillRunner')


@pytest.mark.host
def test_bit_identical_after_training_with_ema(tmp_path: Path) -> None:
    fresh = MODELS.build(config(all_pairs())).teachers['teacher']
    before = weights_of(fresh.prepare(torch.device('cpu')))  # random, of a fixed seed
    hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage')]
    runner = train(config(all_pairs()), tmp_path, custom_hooks=hooks, **OURS)
    model, teacher = runner.model, runner.model.teachers['teacher'].model
    assert_same_weights(before, teacher.state_dict())
    ema = next(hook for hook in runner.hooks if hasattr(hook, 'ema_model')).ema_model
    assert ema.module.teachers['teacher'] is model.teachers['teacher']
    held = {id(parameter) for parameter in teacher.parameters()}
    groups = runner.optim_wrapper.optimizer.param_groups
    assert not held & {id(item) for group in groups for item in group['params']}
    assert not held & {id(parameter) for parameter in ema.parameters()}
    saved = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    for state in (saved['state_dict'], saved['ema_state_dict']):
        parts = {name.removeprefix('module.').split('.')[0] for name in state}
        assert parts <= {'student', 'adapters', 'losses', 'steps'}


def test_absent_from_everything_a_module_holds() -> None:
    model = distiller(all_pairs())
    teacher = model.teachers['teacher'].model
    assert {name.split('.')[0] for name in model.state_dict()} == {
        'student',
        'adapters',
    }
    held = {id(module) for module in teacher.modules()}
    assert not held & {id(module) for module in model.modules()}
    parameters = {id(parameter) for parameter in teacher.parameters()}
    assert not parameters & {id(parameter) for parameter in model.parameters()}
    assert all(not parameter.requires_grad for parameter in teacher.parameters())


def test_stays_in_eval_and_without_gradient() -> None:
    model = distiller(all_pairs())
    teacher = model.teachers['teacher'].model
    model.train()
    model.parse_losses(losses_of(model))[0].backward()
    assert not any(module.training for module in teacher.modules())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_deep_copy_shares_the_teacher_and_works_by_itself() -> None:
    model = distiller(all_pairs())
    losses = losses_of(model)
    clone = copy.deepcopy(model)
    assert clone.teachers['teacher'] is model.teachers['teacher']
    assert clone.losses['hint'] is not model.losses['hint']
    assert clone.pairs[0].loss is clone.losses[clone.pairs[0].name]
    copied = losses_of(clone)
    for name in ('loss_kd_hint', 'loss_kd_rcn_cls', 'loss_rpn_cls'):
        assert torch.equal(torch.as_tensor(sum_of(copied[name])), sum_of(losses[name]))


def sum_of(value: object) -> torch.Tensor:
    return sum(value) if isinstance(value, list) else value  # type: ignore[arg-type,return-value]


def test_keeps_its_data_type_when_the_student_changes() -> None:
    model = distiller(all_pairs())
    teacher = model.teachers['teacher'].model
    model.double()
    assert {item.dtype for item in teacher.parameters()} == {torch.float32}
    assert {item.dtype for item in model.student.parameters()} == {torch.float64}
    model.half()
    assert {item.dtype for item in teacher.parameters()} == {torch.float32}
    own, _ = model.teachers['teacher'].inputs(torch.zeros(1, 3, 64, 64).half(), [])
    assert own.dtype == torch.float32


def test_distils_a_student_in_double_precision() -> None:
    model = distiller(all_pairs()).double()
    losses = losses_of(model)
    assert all(
        value.isfinite() for key, value in losses.items() if key.startswith('loss_kd')
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_moves_with_the_student() -> None:
    model = distiller(all_pairs()).cuda()
    teacher = model.teachers['teacher'].model
    assert {item.device.type for item in teacher.parameters()} == {'cuda'}
    losses = losses_of(model)
    assert losses['loss_kd_hint'].device.type == 'cuda'
