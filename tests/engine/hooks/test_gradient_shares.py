"""Shares in the log of a training that does not notice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.engine.hooks import GradientSharesHook
from kd_plugins.errors import ConfigError
from tests.distillers.runs import assert_same_weights, train
from tests.distillers.tiny import all_pairs, config, faster_rcnn
from tests.distillers.tiny_seg import holistic_run

from .toy import build, unformatted

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
HOOK = dict(type='kd_plugins.GradientSharesHook', interval=2)
OURS = dict(runner_type='kd_plugins.DistillRunner')


def scalars(folder: Path) -> list[dict[str, Any]]:
    """What the host logged, an iteration a line."""
    (file,) = folder.rglob('scalars.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_shares_are_logged_at_the_interval_and_the_training_is_the_same(
    tmp_path: Path,
) -> None:
    ramp = dict(type='LinearRamp', start=0, end=1, begin=2, until=3)
    pairs = all_pairs()
    pairs['rpn_loss'] = pairs.pop('rpn_reg')
    pairs['hint']['loss']['loss_weight'] = ramp
    with_hook = train(
        config(pairs),
        tmp_path / 'with',
        custom_hooks=[HOOK],
        log_level='INFO',
        **OURS,
    )
    without = train(config(pairs), tmp_path / 'without', **OURS)
    assert_same_weights(with_hook.model.state_dict(), without.model.state_dict())
    keys = {f'kd_share/{name}' for name in ('rpn_term', *pairs)} - {'kd_share/rpn_loss'}
    one, two, three, four = (
        {key: value for key, value in line.items() if key.startswith('kd_share/')}
        for line in scalars(tmp_path / 'with')
        if 'loss' in line
    )
    assert not one and set(two) == set(four) == keys
    assert three == two != four
    assert not any('loss' in key for key in keys)
    # The clock stands where the step will read it: at 3 the ramp has ended.
    assert two['kd_share/hint'] == 0.0
    assert four['kd_share/hint'] > 0
    log = next((tmp_path / 'with').rglob('*.log')).read_text()
    assert log.count("Shares of the task's gradient: hint") == 2
    assert 'hint 0 (off)' in log


def test_a_critic_does_not_notice_either(tmp_path: Path) -> None:
    states = []
    for name, hooks in (('with', [dict(HOOK, interval=1)]), ('without', [])):
        with unformatted():
            runner = build(holistic_run(tmp_path / name, custom_hooks=hooks))
            runner.train()
        states.append(runner.model.state_dict())
    assert_same_weights(*states)
    assert scalars(tmp_path / 'with')[-1]['kd_share/holistic'] > 0


@pytest.mark.parametrize('interval', [0, 2.5])
def test_an_interval_is_a_whole_number(interval: Any) -> None:
    with pytest.raises(ConfigError, match='interval must be a whole number >= 1'):
        GradientSharesHook(interval)


def test_a_plain_model_has_no_pairs(tmp_path: Path) -> None:
    message = (
        'GradientSharesHook needs a model of type kd_plugins.Distiller, got Faster'
    )
    with pytest.raises(ConfigError, match=message):
        train(faster_rcnn(), tmp_path, custom_hooks=[HOOK], **OURS)


@pytest.mark.slow
def test_two_processes_stay_in_step_and_end_as_without_it(tmp_path: Path) -> None:
    command = [
        sys.executable,
        '-m',
        'tests.evaluation.gradients.two_processes',
        str(tmp_path),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    logs = [path.read_text() for path in tmp_path.glob('log_*')]
    assert done.returncode == 0, '\n'.join([*logs, done.stderr])
    ends = [
        torch.load(tmp_path / f'{run}_{rank}.pth', weights_only=True)
        for run in ('with', 'without')
        for rank in range(2)
    ]
    for rank in range(2):
        assert_same_weights(ends[rank]['state'], ends[2 + rank]['state'])
        for part in ('draw', 'own'):
            assert torch.equal(ends[rank][part], ends[2 + rank][part])
    logged = scalars(tmp_path / 'with')
    assert all(line['kd_share/hint'] > 0 for line in logged)
