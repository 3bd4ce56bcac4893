"""Runs whose weights are kept at a share of the task's gradient."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner

from kd_plugins.engine.amp import enable_amp
from kd_plugins.engine.hooks import GradientSharesHook
from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.gradients import read_shares
from kd_plugins.schedules import GradientShare
from tests.distillers.runs import assert_same_weights, run_config, train
from tests.distillers.tiny import all_pairs, config

from .toy import build, unformatted

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
RUNNER = 'kd_plugins.DistillRunner'
OURS: dict[str, Any] = dict(
    runner_type=RUNNER,
    train_cfg=dict(by_epoch=False, max_iters=6),
    **dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')),
    default_hooks=dict(
        logger=dict(type='LoggerHook', interval=1),
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
    ),
)


def balance(**options: Any) -> dict[str, Any]:
    """At every second iteration, to the end."""
    return dict(type='GradientShare', interval=2, until=100) | options


def pairs(**weights: Any) -> dict[str, Any]:
    """Hint, and the RoI classifier, by name with these weights."""
    chosen = {name: all_pairs()[name] for name in ('hint', 'rcn_cls')}
    for name, weight in weights.items():
        chosen[name]['loss']['loss_weight'] = weight
    return chosen


def schedule_of(runner: Any, name: str = 'hint') -> GradientShare:
    (pair,) = (pair for pair in runner.model.pairs if pair.name == name)
    assert isinstance(pair.schedule, GradientShare)
    return pair.schedule


def logged(runner: Any, key: str) -> list[float]:
    values, _ = runner.message_hub.log_scalars[key].data
    return [float(value) for value in values]


def test_a_pair_has_its_share_from_the_first_iteration_on(tmp_path: Path) -> None:
    runner = train(config(pairs(hint=balance(share=0.25))), tmp_path, **OURS)
    zero, one, two, four = read_shares(tmp_path)
    assert [each.iteration for each in (zero, one, two, four)] == [0, 1, 2, 4]
    assert zero.pairs['hint'].share == pytest.approx(0.25)
    assert zero.pairs['hint'].wanted == 0.25 and zero.pairs['rcn_cls'].wanted is None
    # What is logged is the weight at which the step computed.
    weights = logged(runner, 'train/kd_weight/hint')
    assert weights == [each.pairs['hint'].weight for each in (zero, one, two, four)]
    assert weights[0] != 1.0 and len(set(weights)) > 1
    assert schedule_of(runner).weight == weights[-1]
    assert runner.model.losses['hint'].loss_weight == weights[-1]
    assert 'train/kd_weight/rcn_cls' not in runner.message_hub.log_scalars


def test_a_large_share_that_is_wanted_is_not_called_dominating(tmp_path: Path) -> None:
    train(config(pairs(hint=balance(share=40.0))), tmp_path, log_level='INFO', **OURS)
    log = next(tmp_path.rglob('*.log')).read_text()
    assert "Shares of the task's gradient: hint 40 (40 wanted, weight" in log
    assert 'dominating' not in log.split("Shares of the task's gradient")[1]


def test_the_step_computes_with_the_measured_weight(tmp_path: Path) -> None:
    first = dict(OURS, train_cfg=dict(by_epoch=False, max_iters=1))
    balanced = train(config(pairs(hint=balance())), tmp_path / 'one', **first)
    weight = schedule_of(balanced).weight
    fixed = train(config(pairs(hint=weight)), tmp_path / 'two', **first)
    assert_same_weights(balanced.model.state_dict(), fixed.model.state_dict())


def test_several_pairs_are_balanced_each_by_its_own_moments(tmp_path: Path) -> None:
    weights = dict(hint=balance(), rcn_cls=balance(begin=3, share=0.1, start=0.5))
    train(config(pairs(**weights)), tmp_path, **OURS)
    run = read_shares(tmp_path)
    assert [each.iteration for each in run] == [0, 1, 2, 3, 4, 5]
    found = [each.pairs['rcn_cls'] for each in run]
    assert [each.weight for each in found[:3]] == [0.5] * 3
    assert found[3].share == pytest.approx(0.1)
    hint = [each.pairs['hint'].weight for each in run]
    assert hint[3] == hint[2] and hint[5] == hint[4]


def test_a_pair_of_the_heads_alone_is_measured_there(tmp_path: Path) -> None:
    cut = dict(neck=dict(layer='neck', loss=dict(type='HintLoss')))
    cut['neck']['loss']['loss_weight'] = balance(share=0.3)
    model = config(cut)
    model['student']['backbone'] = dict(model['student']['backbone'], frozen_stages=3)
    train(model, tmp_path, **OURS)
    first = read_shares(tmp_path)[0].pairs['neck']
    assert first.part == 'heads'
    assert first.share == pytest.approx(0.3)


@pytest.mark.slow
@pytest.mark.parametrize('weight', [balance(), balance(begin=4, start=0.1)])
def test_a_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, weight: dict[str, Any]
) -> None:
    model = config(pairs(hint=weight, rcn_cls=balance(share=0.2)))
    whole = train(model, tmp_path / 'whole', **OURS)
    train(model, tmp_path / 'broken', **OURS)
    for path in (tmp_path / 'broken').glob('*iter_6.pth'):
        path.unlink()
    resumed = train(model, tmp_path / 'broken', resume=True, **OURS)
    assert_same_weights(resumed.model.state_dict(), whole.model.state_dict())
    for name in ('hint', 'rcn_cls'):
        state = schedule_of(whole, name).state_dict()
        assert schedule_of(resumed, name).state_dict() == state
    # That could fail: the second part measured again, and the first part counted.
    run, other = (read_shares(tmp_path / name) for name in ('whole', 'broken'))
    assert [(each.iteration, each.pairs) for each in run] == [
        (each.iteration, each.pairs) for each in other
    ]
    assert {each.started for each in other} == {0, 3}


def test_a_checkpoint_holds_the_balance_in_plain_numbers(tmp_path: Path) -> None:
    runner = train(config(pairs(hint=balance())), tmp_path, **OURS)
    saved = torch.load(tmp_path / 'iter_6.pth', weights_only=False)
    assert saved['gradient_shares'] == {'hint': schedule_of(runner).state_dict()}
    student = torch.load(tmp_path / 'student_iter_6.pth', weights_only=False)
    assert 'gradient_shares' not in student


def test_weights_that_are_loaded_begin_a_new_balance(tmp_path: Path) -> None:
    model = config(pairs(hint=balance(interval=200)))
    train(model, tmp_path / 'one', **OURS)
    start = str(tmp_path / 'one' / 'iter_6.pth')
    two = train(model, tmp_path / 'two', load_from=start, **OURS)
    assert schedule_of(two).measurements == 1


@pytest.mark.parametrize('kind', ['amp', 'accumulated', 'clipped'])
def test_it_works_in_mixed_precision_and_with_accumulated_gradients(
    tmp_path: Path, kind: str
) -> None:
    cfg = run_config(config(pairs(hint=balance())), tmp_path, **OURS)
    if kind == 'amp':
        enable_amp(cfg)
    elif kind == 'accumulated':
        cfg.optim_wrapper.accumulative_counts = 2
    else:
        cfg.optim_wrapper.clip_grad = dict(max_norm=0.5)
    with unformatted():
        runner = build(cfg)
        runner.train()
    run = read_shares(tmp_path)
    assert run[0].pairs['hint'].share == pytest.approx(0.5)
    assert len(run) == 4
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


def test_the_summary_shows_what_is_kept(tmp_path: Path) -> None:
    runner = train(config(pairs(hint=balance(share=0.3))), tmp_path, **OURS)
    shown = 'GradientShare(0.3 ± 10%, every 2 iterations from 0 to 100, now'
    assert shown in runner.model.summary()


# What cannot be


def test_the_host_s_own_runner_is_refused_by_what_to_set(tmp_path: Path) -> None:
    cfg = run_config(config(pairs(hint=balance())), tmp_path, **OURS)
    cfg.runner_type = 'Runner'
    message = (
        r'model.pairs.hint.loss.loss_weight: is a schedule, .* Set '
        r"runner_type='kd_plugins.DistillRunner'"
    )
    with pytest.raises(ConfigError, match=message):
        Runner.from_cfg(cfg).train()


def test_the_host_s_own_runner_serves_with_both_hooks(tmp_path: Path) -> None:
    cfg = run_config(config(pairs(hint=balance())), tmp_path, **OURS)
    clock = dict(type='kd_plugins.ClockHook')
    cfg.custom_hooks = [clock]
    with pytest.raises(ConfigError, match=r'nothing measures it\. Set runner_type'):
        Runner.from_cfg(cfg).train()
    cfg.custom_hooks = [clock, dict(type='kd_plugins.GradientSharesHook')]
    cfg.experiment_name += '_both'
    Runner.from_cfg(cfg).train()
    assert read_shares(tmp_path)[0].pairs['hint'].share == pytest.approx(0.5)


def test_the_host_s_own_runner_measures_fixed_weights_without_a_clock(
    tmp_path: Path,
) -> None:
    cfg = run_config(config(pairs()), tmp_path, **OURS)
    cfg.custom_hooks = [dict(type='kd_plugins.GradientSharesHook', interval=3)]
    Runner.from_cfg(cfg).train()
    assert [each.iteration for each in read_shares(tmp_path)] == [2, 5]


def test_a_beginning_after_the_end_is_refused_before_the_first_iteration(
    tmp_path: Path,
) -> None:
    message = r'model.pairs.hint.loss.loss_weight: begin is 6, and the training ends'
    with pytest.raises(ConfigError, match=message):
        train(config(pairs(hint=balance(begin=6))), tmp_path, **OURS)
    assert not list(tmp_path.glob('*.pth'))


def test_a_student_that_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    cfg = run_config(config(pairs(hint=balance())), tmp_path, **OURS)
    with unformatted():
        runner = build(cfg)
        neck = runner.model.student.neck
        forward = neck.forward
        neck.forward = lambda inputs: forward(inputs)
        with pytest.raises(ConfigError, match=r"of 'neck' .* Give each pair a number"):
            runner.train()


def test_a_student_that_may_be_sharded_is_refused(tmp_path: Path) -> None:
    class Sharded(torch.nn.Module):
        """As a wrapper that shards stands for its model."""

        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

    from mmengine.registry import MODEL_WRAPPERS

    MODEL_WRAPPERS.register_module(module=Sharded, force=True)
    cfg = run_config(config(pairs(hint=balance())), tmp_path, **OURS)
    with unformatted():
        runner = build(cfg)
    runner.model = Sharded(runner.model)
    message = r'hint.loss.loss_weight: a whole student is measured, and Sharded may'
    with pytest.raises(ConfigError, match=message):
        GradientSharesHook().before_train(runner)
    for pair in runner.model.module.pairs:
        pair.schedule = None
    GradientSharesHook().before_train(runner)
    with pytest.raises(ConfigError, match=r'interval: a whole student .* Remove inter'):
        GradientSharesHook(interval=2).before_train(runner)


@pytest.mark.slow
def test_two_processes_give_the_same_weights(tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'tests.engine.hooks.two_balanced', str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    logs = [path.read_text() for path in tmp_path.glob('log_*')]
    assert done.returncode == 0, '\n'.join([*logs, done.stderr])
    first, second = (
        torch.load(tmp_path / f'weights_{rank}.pth', weights_only=True)
        for rank in range(2)
    )
    # Measured on other images, and yet the same to the last bit.
    assert first['measured'] != second['measured']
    assert first['weights'] == second['weights']
    assert len(set(first['weights'])) > 1
    (file,) = tmp_path.rglob('gradient_shares.jsonl')
    run = read_shares(file.parents[1])
    assert [each.pairs['hint'].weight for each in run] == first['weights']
    assert run[0].pairs['hint'].share == pytest.approx(0.5)
