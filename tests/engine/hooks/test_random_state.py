import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner

from kd_plugins.engine.hooks import RandomStateHook

from .toy import ToyMetric, build, names, same_state, toy_config, train

pytestmark = [
    pytest.mark.host,
    # The original family's own way of reading checkpoints.
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]


def interrupt(work_dir: Path, iteration: int, **changes: Any) -> None:
    """Train, and leave the files as they are once so many iterations are trained."""

    class Interrupted(Exception):
        pass

    class Interrupt(RandomStateHook):
        def before_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None
        ) -> None:
            if runner.iter == iteration:
                raise Interrupted
            super().before_train_iter(runner, batch_idx, data_batch)

    runner = build(toy_config(work_dir, **changes))
    runner._hooks = [
        Interrupt() if isinstance(hook, RandomStateHook) else hook
        for hook in runner.hooks
    ]
    with pytest.raises(Interrupted):
        runner.train()


def final(runner: Runner) -> dict[str, Any]:
    """All that a run ends with: weights, optimiser, schedule, best score, averages."""
    wrapper = runner.optim_wrapper
    state = dict(runner.model.state_dict())
    for number, values in wrapper.state_dict()['state'].items():
        state.update({f'optimizer.{number}.{key}': values[key] for key in values})
    lr = [group['lr'] for group in wrapper.param_groups]
    state['lr'] = torch.tensor(lr, dtype=torch.float64)
    best = runner.message_hub.runtime_info.get('best_score', 0.0)
    state['best'] = torch.tensor(best, dtype=torch.float64)
    for hook in runner.hooks:
        if hasattr(hook, 'ema_model'):
            for key, value in hook.ema_model.state_dict().items():
                state[f'ema.{key}'] = value
    return state


CASES: dict[str, dict[str, Any]] = {
    'the main case': {},
    'no validation': {'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None},
    'validation more often': {'train_cfg.val_interval': 1},
    'validation seldom': {'train_cfg.val_interval': 3},
    'changing intervals': {'train_cfg.dynamic_intervals': [(5, 1)]},
    'averaged weights': {'custom_hooks': [{'type': 'EMAHook'}]},
    'data that ends': {
        'train_dataloader.sampler': {'_delete_': True, 'type': 'DefaultSampler'}
    },
    'accumulation': {'optim_wrapper.accumulative_counts': 2, 'param_scheduler': None},
    'a plain model': {'model': {'_delete_': True, 'type': 'ToyStudent'}},
    'epochs': {
        'train_cfg': {'_delete_': True, 'by_epoch': True, 'max_epochs': 2},
        'train_dataloader.sampler': {'_delete_': True, 'type': 'DefaultSampler'},
        'default_hooks.checkpoint': {'by_epoch': True, 'interval': 1},
        'param_scheduler': {'by_epoch': True},
    },
}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    # The host sleeps for two seconds whenever the data ends.
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)


@pytest.mark.parametrize('changes', CASES.values(), ids=CASES)
def test_a_resumed_run_ends_as_the_uninterrupted_one(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    interrupt(tmp_path / 'broken', 9, **changes)
    resumed = final(train(tmp_path / 'broken', resume=True, **changes))
    whole = final(train(tmp_path / 'whole', **changes))
    assert same_state(resumed, whole)
    assert names(tmp_path / 'broken') == names(tmp_path / 'whole')


def test_interrupted_twice_and_within_a_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = final(train(tmp_path / 'whole'))
    interrupt(tmp_path / 'broken', 3)
    process = ToyMetric.process

    def die_at_six(self: Any, data_batch: Any, data_samples: Any) -> None:
        if (tmp_path / 'broken' / 'iter_6.pth').exists():
            raise KeyboardInterrupt
        process(self, data_batch, data_samples)

    with monkeypatch.context() as patch:
        patch.setattr(ToyMetric, 'process', die_at_six)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / 'broken', resume=True)
    assert same_state(final(train(tmp_path / 'broken', resume=True)), whole)


def test_a_validation_that_was_run_again_counts_as_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def die(*args: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(ToyMetric, 'process', die)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    assert not saved['random_state']['validated']
    interrupt(tmp_path, 3, resume=True)  # its first score is the best
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    assert saved['random_state']['validated']


def test_a_validation_that_ended_is_not_run_again(tmp_path: Path) -> None:
    def validations(work_dir: Path) -> str:
        logs = sorted(work_dir.rglob('*.log'), key=lambda log: log.stat().st_mtime_ns)
        return logs[-1].read_text()

    again = 'The validation due at this checkpoint is run first'
    interrupt(tmp_path, 3)  # after a best score: the checkpoint is saved again
    interrupt(tmp_path, 4, resume=True, log_level='INFO')
    assert again not in validations(tmp_path)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    killing = [
        sys.executable,
        '-m',
        'tests.engine.hooks.killed',
        str(tmp_path / 'run'),
        '11',
    ]
    done = subprocess.run(killing, capture_output=True, text=True, check=True)
    assert done.stdout.count('killed within a save') >= 2
    assert done.stdout.count('killed outside of saves') >= 1
    whole = train(tmp_path / 'whole')
    saved = torch.load(tmp_path / 'run' / 'iter_10.pth', weights_only=False)
    assert same_state(saved['state_dict'], whole.model.state_dict())
    assert names(tmp_path / 'run') == names(tmp_path / 'whole')


def test_a_checkpoint_without_random_state_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(tmp_path, 5)
    for name in ('iter_2.pth', 'iter_4.pth'):
        checkpoint = torch.load(tmp_path / name, weights_only=False)
        del checkpoint['random_state']
        torch.save(checkpoint, tmp_path / name)
    train(tmp_path, resume=True)
    assert 'The checkpoint holds no random state' in capsys.readouterr().out


def test_states_of_other_processes_are_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(tmp_path, 5)
    checkpoint = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    checkpoint['random_state']['processes'] *= 2
    torch.save(checkpoint, tmp_path / 'iter_4.pth')
    train(tmp_path, resume=True)
    assert 'of 2 processes, not of 1: none is restored' in capsys.readouterr().out
