"""Warnings and a verdict in the log of a run that does not notice."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from kd_plugins.engine.hooks import GradientSharesHook, gradient_shares
from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.gradients import RunVerdict, alarms, read_shares
from kd_plugins.losses import DistillationLoss
from kd_plugins.registry import LOSSES
from tests.distillers.runs import assert_same_weights, run_config, train
from tests.distillers.tiny import all_pairs, config

from .toy import build, unformatted

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
OFF = [dict(type='kd_plugins.GradientSharesHook', alarms=False)]
SHORT: dict[str, Any] = dict(
    runner_type='kd_plugins.DistillRunner',
    train_cfg=dict(by_epoch=False, max_iters=6),
    **dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')),
    log_level='INFO',
)


@LOSSES.register_module()
class BoundedLoss(DistillationLoss):
    """0 wherever it is looked at, with a graph."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss_weight * (0 * student).sum()


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured at iterations 1 to 4, as if the run were a long one."""
    monkeypatch.setattr(
        gradient_shares, 'alarm_moments', lambda *_: frozenset({1, 2, 3, 4})
    )
    monkeypatch.setattr(alarms, 'ZERO_ITERATIONS', 4)


def pairs() -> dict[str, Any]:
    """One that dominates, one that is fair, and one whose loss is always 0."""
    return dict(
        loud=dict(layer='neck', loss=dict(type='HintLoss', loss_weight=1e4)),
        rcn_cls=all_pairs()['rcn_cls'],
        zero=dict(layer='neck', loss=dict(type='BoundedLoss', loss_weight=0.5)),
    )


def hook_of(runner: Any) -> GradientSharesHook:
    (hook,) = (each for each in runner.hooks if isinstance(each, GradientSharesHook))
    return hook


def log_of(folder: Path) -> str:
    return '\n'.join(path.read_text() for path in sorted(folder.rglob('*.log')))


@pytest.mark.usefixtures('early')
def test_a_run_with_alarms_is_the_run_without_bit_for_bit(tmp_path: Path) -> None:
    options = dict(
        SHORT,
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=1e-5),
            clip_grad=dict(max_norm=0.5),
        ),
    )
    loud = train(config(pairs()), tmp_path / 'with', **options)
    quiet = train(config(pairs()), tmp_path / 'off', custom_hooks=OFF, **options)
    assert_same_weights(loud.model.state_dict(), quiet.model.state_dict())
    assert [each.iteration for each in read_shares(tmp_path / 'with')] == [1, 2, 3, 4]
    # Turned off, it neither measures, warns nor judges.
    assert read_shares(tmp_path / 'off') == []
    assert hook_of(quiet).verdict is None
    assert 'Verdict' not in log_of(tmp_path / 'off')


@pytest.mark.usefixtures('early')
def test_the_log_names_key_and_remedy_once_and_ends_with_a_verdict(
    tmp_path: Path,
) -> None:
    runner = train(config(pairs()), tmp_path, **SHORT)
    log = log_of(tmp_path)
    warnings = [
        line.split(' WARNING - ')[1]
        for line in log.splitlines()
        if ' WARNING - model.pairs' in line
    ]
    loud, zero_loss, zero = sorted(warnings, key=lambda line: line[:30])
    assert loud.startswith('model.pairs.loud: its gradient was ')
    assert 'in 3 measurements in a row. model.pairs.loud.loss.loss_weight=' in loud
    assert {zero_loss[:40], zero[:40]} == {
        'model.pairs.zero: its gradient was 0, in',
        'model.pairs.zero: its loss was exactly 0',
    }
    verdict = hook_of(runner).verdict
    assert isinstance(verdict, RunVerdict)
    kinds = {name: pair.verdict for name, pair in verdict.pairs.items()}
    assert kinds == dict(loud='dominating', rcn_cls='fair', zero='dead')
    assert verdict.pairs['loud'].weight == 1e4
    assert 'Verdict on the pairs, by the medians of 4 measurements' in log
    assert verdict.sentence == (
        '1 of 3 pairs had a fair share; dominating: loud; dead: zero.'
    )
    assert f'\n{verdict}\n' in f'{log}\n'


@pytest.mark.usefixtures('early')
def test_a_resumed_run_judges_the_whole_and_not_its_second_part(tmp_path: Path) -> None:
    options = dict(
        SHORT,
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
        ),
    )
    train(config(pairs()), tmp_path, **options)
    for path in tmp_path.glob('*iter_6.pth'):
        path.unlink()
    resumed = train(config(pairs()), tmp_path, resume=True, **options)
    verdict = hook_of(resumed).verdict
    assert verdict is not None and verdict.measurements == 4


def test_a_run_of_some_iterations_measures_nothing(tmp_path: Path) -> None:
    runner = train(config(pairs()), tmp_path, **SHORT)
    assert read_shares(tmp_path) == []
    assert hook_of(runner).verdict is None
    assert 'Verdict' not in log_of(tmp_path)


@pytest.mark.usefixtures('early')
def test_a_student_that_cannot_be_copied_is_trained_without_alarms(
    tmp_path: Path,
) -> None:
    cfg = run_config(config(dict(hint=all_pairs()['hint'])), tmp_path, **SHORT)
    with unformatted():
        runner = build(cfg)
        neck = runner.model.student.neck
        forward = neck.forward
        neck.forward = lambda inputs: forward(inputs)
        runner.train()
    log = log_of(tmp_path)
    assert log.count('Pairs are trained without alarms: model.student: the for') == 1
    assert runner.iter == 6 and hook_of(runner).verdict is None


@pytest.mark.usefixtures('early')
def test_a_gpu_without_room_is_trained_without_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient_shares, 'has_room_for_copy', lambda *_: False)
    train(config(pairs()), tmp_path, **SHORT)
    assert 'without alarms: the GPU has no room for a copy' in log_of(tmp_path)
    assert read_shares(tmp_path) == []


@pytest.mark.usefixtures('early')
def test_a_file_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(gradient_shares, 'append_measurement', full)
    runner = train(config(pairs()), tmp_path, **SHORT)
    assert 'gradient_shares.jsonl was not written' in log_of(tmp_path)
    assert hook_of(runner).verdict is not None


@pytest.mark.parametrize('value', ['False', 0, None])
def test_alarms_are_on_or_off(value: Any) -> None:
    with pytest.raises(ConfigError, match='alarms must be True or False, got'):
        GradientSharesHook(alarms=value)
