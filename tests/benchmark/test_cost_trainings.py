"""Cost of whole trainings: of every stage, and of phases without pairs."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.benchmark import cost_stages
from kd_plugins.benchmark.cost import (
    ADAPTERS,
    DISTILLING,
    IDLE,
    REFERENCE,
    STUDENT,
    TEACHER,
    Cost,
    idle_share,
)
from kd_plugins.benchmark.cost_trainings import Part, measure_trainings, time_ratio
from kd_plugins.benchmark.main import _step_times, cost
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.benchmark.stages import trainings_of
from kd_plugins.errors import ConfigError
from kd_plugins.schedules import Clock

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
STUDENT_ALONE = CONFIGS / 'mosaics' / 'pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'
SECONDS = {
    STUDENT: [4.0, 4.0],
    TEACHER: [1.0, 1.0],
    ADAPTERS: [0.0, 0.0],
    DISTILLING: [6.0, 6.0],
}


def test_a_mean_step_counts_each_phase_by_its_share():
    assert Cost('kd', SECONDS, idle_share=0.4).mean_ratio == 1.5  # it was not timed
    gated = Cost('eskd', {**SECONDS, IDLE: [4.0, 4.0]}, idle_share=0.4)
    assert gated.mean_ratio == pytest.approx(0.6 * 1.5 + 0.4 * 1.0)
    # Of an assistant, over the student that it teaches later.
    first = Cost('takd: assistant', {**SECONDS, REFERENCE: [2.0, 3.0]})
    assert first.mean_ratio == pytest.approx((3.0 + 2.0) / 2)
    assert first.step_ratio == 1.5


class Gated:
    """As much of a pair as has a weight, up to a share of the training."""

    schedule = True

    def __init__(self, end: float) -> None:
        self.end = end
        self.loss = SimpleNamespace(loss_weight=1.0)

    def set_weight(self, clock: Clock) -> None:
        done = clock.iteration / (clock.max_iterations or 1)
        self.loss.loss_weight = float(done < self.end)


def test_the_share_without_pairs():
    cfg = Config(dict(train_cfg=dict(max_iters=1500)))
    assert idle_share(cfg, []) == 0
    pairs: list[Any] = [Gated(0.3), Gated(0.6)]
    assert idle_share(cfg, pairs) == pytest.approx(0.4, abs=2e-3)


def test_all_stages_are_added_up():
    thousand = Config(dict(train_cfg=dict(max_iters=1000)))
    assistant = Part('assistant', 1000, 'max_iters', 1.75)
    student = Part('student', 500, 'max_iters', 1.25)
    assert time_ratio([assistant, student], thousand) == pytest.approx(2.375)
    by_epoch = Part('', 12, 'max_epochs', 1.25)
    assert time_ratio([assistant, by_epoch], thousand) is None


@pytest.mark.slow
@pytest.mark.host
def test_generations_are_timed_each_and_together(tiny_mosaics, tmp_path, monkeypatch):
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))
    monkeypatch.setattr(cost_stages, '_ROUNDS', 1)
    config = CONFIGS / 'ban' / 'ban-generations_psp-w6_4500it_mosaics-300.py'
    path = tmp_path / 'protocol.py'
    recipes = {
        'alone': dict(config=str(STUDENT_ALONE)),
        'ban': dict(config=str(config)),
    }
    path.write_text(
        f"metric, seeds, baseline = 'mIoU', [0], 'alone'\nrecipes = {recipes}\n"
        'cost = dict(ban=None)\n'
    )
    protocol = read_protocol(path)
    tiny = {'custom_hooks.0.train': 8, 'custom_hooks.0.val': 4}
    options = {**tiny, 'train_dataloader.batch_size': 2, 'train_cfg.max_iters': 30}
    text = cost(protocol, tmp_path, options=options, steps=1, warmup=0)
    content = json.loads((tmp_path / 'cost.json').read_text())
    # The first generation has no teacher, and no steps of a distillation.
    names = ['ban: second', 'ban: third']
    assert [each['recipe'] for each in content['recipes']] == names
    found = content['trainings']['ban']
    stages = [each['stage'] for each in found['parts']]
    assert stages == ['first', 'second', 'third']
    steps = [each['step'] for each in found['parts']]
    assert found['time_ratio'] == pytest.approx(sum(30 * step for step in steps) / 30)
    assert f'| {found["time_ratio"]:.3f} ' in text
    # That is what reports read, while the config is the same.
    times = _step_times(protocol, tmp_path, options)
    assert times is not None and times.ratios == {'ban': found['time_ratio']}
    other = _step_times(protocol, tmp_path, {**options, 'train_cfg.max_iters': 31})
    assert other is not None and other.ratios == {}


def test_a_route_of_another_stage_cannot_be_timed():
    config = CONFIGS / 'ban' / 'ban-generations_psp-w6_4500it_mosaics-300.py'
    trainings = trainings_of(config)
    trainings['third'].model.teacher.checkpoints = '{first.checkpoints}'
    with pytest.raises(ConfigError, match=r'model.teacher.checkpoints: is taken from'):
        measure_trainings('ban', trainings)
