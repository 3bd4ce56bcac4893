"""mmengine's strategies in one process, and what of them cannot distil."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import set_random_seed

from kd_plugins import ConfigError
from kd_plugins.apis.train import build_runner
from kd_plugins.engine.flexible import DistillFlexibleRunner
from kd_plugins.engine.strategies import DistillFSDPStrategy, strategy_for
from kd_plugins.registry import RUNNERS
from tests.engine.hooks.toy import build, names, same_state, toy_config, train

pytestmark = pytest.mark.host
FLEXIBLE = 'kd_plugins.DistillFlexibleRunner'


def flexible(work_dir: Path, **changes: Any) -> Config:
    cfg = toy_config(work_dir, runner_type=FLEXIBLE, **changes)
    cfg.launcher = 'none'
    return cfg


class SeedHook(Hook):
    """With torch 2.4 the host's two runners draw the data's seed in another order."""

    def before_train(self, runner: Any) -> None:
        set_random_seed(5)


def test_one_process_ends_as_with_our_other_runner(tmp_path: Path) -> None:
    train(tmp_path / 'start')
    start = str(tmp_path / 'start' / 'iter_8.pth')
    ends = {}
    for name, make in (('plain', toy_config), ('flexible', flexible)):
        runner = build(make(tmp_path / name, load_from=start))
        runner.register_hook(SeedHook())
        runner.train()
        ends[name] = runner.model.state_dict()
    assert isinstance(runner, DistillFlexibleRunner)
    assert same_state(ends['flexible'], ends['plain'])
    assert names(tmp_path / 'flexible') == names(tmp_path / 'plain')


@pytest.mark.parametrize('resume', [True, 'auto'])
def test_a_resumed_run_ends_as_the_uninterrupted_one(
    tmp_path: Path, resume: bool | str
) -> None:
    whole = build(flexible(tmp_path / 'whole'))
    whole.train()
    build(flexible(tmp_path / 'cut')).train()
    for path in (tmp_path / 'cut').glob('*_10.pth'):
        path.unlink()  # as if it had been stopped
    runner = build(flexible(tmp_path / 'cut', resume=resume))
    runner.train()
    assert same_state(runner.model.state_dict(), whole.model.state_dict())


def test_without_a_checkpoint_auto_starts_from_the_given_weights(
    tmp_path: Path,
) -> None:
    train(tmp_path / 'first')
    start = str(tmp_path / 'first' / 'iter_10.pth')
    cfg = flexible(tmp_path / 'second', resume='auto', load_from=start)
    runner = build(cfg)
    runner.train()
    assert runner.iter == 10
    assert runner.train_loop.max_iters == 10
    saved = torch.load(tmp_path / 'second' / 'iter_8.pth', weights_only=False)
    assert saved['meta']['iter'] == 8


@pytest.mark.parametrize('name', ['DeepSpeedStrategy', 'ColossalAIStrategy', 'Mine'])
def test_other_strategies_are_refused_by_name(name: str) -> None:
    message = rf"strategy.type must be one of .*FSDPStrategy, got '{name}': .* Use 'FSD"
    with pytest.raises(ConfigError, match=message):
        strategy_for({'type': name}, 'pytorch')


@pytest.mark.parametrize('name', ['DDPStrategy', 'FSDPStrategy'])
def test_several_processes_need_a_launcher(name: str) -> None:
    message = rf"strategy.type='{name}' needs several processes, .* with torchrun"
    with pytest.raises(ConfigError, match=message):
        strategy_for({'type': name}, 'none')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'state_dict_cfg': 'local'}, "state_dict_cfg must be 'full' .* got 'local'"),
        ({'skip_init_weights': True}, 'skip_init_weights must be False'),
    ],
)
def test_shards_alone_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f'strategy.{message}'):
        DistillFSDPStrategy(**options)


def test_averaged_weights_beside_shards_are_refused(tmp_path: Path) -> None:
    runner = build(flexible(tmp_path))
    runner.strategy = object.__new__(DistillFSDPStrategy)
    with pytest.raises(ConfigError, match='custom_hooks: EMAHook copies the whole'):
        runner.register_hook({'type': 'EMAHook'})


def test_layers_to_checkpoint_belong_to_the_strategy(tmp_path: Path) -> None:
    cfg = flexible(tmp_path, activation_checkpointing=['backbone'])
    with pytest.raises(ConfigError, match='activation_checkpointing: is not read by'):
        RUNNERS.build(cfg)


def test_the_hosts_own_runner_for_strategies_is_refused(tmp_path: Path) -> None:
    cfg = toy_config(tmp_path, runner_type='FlexibleRunner')
    message = "runner_type: 'FlexibleRunner' knows no .* 'kd_plugins.DistillFlexib"
    with pytest.raises(ConfigError, match=message):
        build_runner(cfg)
