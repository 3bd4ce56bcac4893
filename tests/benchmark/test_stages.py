"""Recipes of several stages: what is scored, what is timed, how each begins."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.apis.train import prepare_config
from kd_plugins.benchmark.main import Outcome, benchmark
from kd_plugins.benchmark.plan import key_of
from kd_plugins.benchmark.protocol import Recipe, read_protocol
from kd_plugins.benchmark.stages import seeds_of, stages_of, start_of
from kd_plugins.engine.stages import read_stages

from .conftest import fake_commands, write_protocol

ROOT = Path(__file__).parents[2]
# 'last' continues with the student of 'first'; 'beside' is of another model.
STAGES = """
stages = dict(
    first=dict(),
    beside=dict(cfg='{folder}/plain.py'),
    last=dict(options=dict(load_from='{{first.student}}')))
"""


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """'hint' is a distillation of three stages of 100 iterations, of 0.14 s each."""
    folder = write_protocol(tmp_path)
    hint = folder / 'hint.py'
    text = hint.read_text().replace('FasterRCNN', 'kd_plugins.Distiller')
    hint.write_text(text + STAGES.format(folder=folder))
    return folder


def run(folder: Path, **options: Any) -> Outcome:
    protocol = read_protocol(folder / 'protocol.py')
    return benchmark(protocol, folder / 'work', fake_commands(), **options)


def result(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (folder / 'work' / name / 'result.json').read_text()
    )
    return content


def test_the_last_stage_is_scored_and_all_are_timed(pieces):
    assert run(pieces, seeds=[0, 1]).failures == []
    found = result(pieces, 'hint/seed1')
    # The last stage has the seed 2001, which this tool adds to the score.
    assert found['score'] == pytest.approx((20 + 4 + 2001) / 100)
    assert found['iterations'] == 300
    assert found['seconds'] == pytest.approx(3 * 100 * 0.14)
    assert list(found['stages']) == ['first', 'beside', 'last']
    assert found['stages']['beside'] == {
        'iterations': 100,
        'seconds': pytest.approx(14.0),
    }
    rows = json.loads((pieces / 'work' / 'benchmark.json').read_text())
    hint = next(row for row in rows['recipes'] if row['recipe'] == 'hint')
    assert hint['time_ratio'] == pytest.approx(3 * 1.4)
    # The student starts in the first stage, as the baseline does.
    assert hint['start'] == 'same'
    assert rows['warnings'] == []


def test_a_stage_without_a_log_is_no_result(pieces, monkeypatch):
    monkeypatch.setenv('FAKE_TOOL', 'die')
    (first, *_) = run(pieces, seeds=[0], recipes=['hint']).failures
    assert 'ended with code -9' in first
    assert not (pieces / 'work' / 'hint' / 'seed0' / 'result.json').exists()


def test_each_stage_has_a_seed_of_its_own(pieces):
    run(pieces, seeds=[2], recipes=['hint'])
    options = {
        f'stages.{name}.options.randomness.seed={seed}'
        for name, seed in {'first': 2, 'beside': 1002, 'last': 2002}.items()
    }
    command = result(pieces, 'hint/seed2')['command']
    assert options < set(command)
    assert 'randomness.seed=2' not in command
    # As tools/train.py reads them, each with a record of its start.
    cfg = prepare_config(
        pieces / 'work' / 'hint' / 'config.py',
        options=dict(item.split('=') for item in sorted(options)),
    )
    stages = read_stages(cfg)
    seeds = {stage.name: int(stage.cfg.randomness.seed) for stage in stages}
    assert seeds == {'first': 2, 'beside': 1002, 'last': 2002}
    assert all('fingerprint' in stage.cfg.default_hooks for stage in stages)
    # Of one training the seed is the run's.
    assert 'randomness.seed=2' in result(pieces, 'baseline/seed2')['command']


def test_fidelity_is_that_of_the_last_stage(pieces):
    path = pieces / 'protocol.py'
    path.write_text(path.read_text() + 'fidelity = dict(pixels=64)\n')
    assert run(pieces, seeds=[0], recipes=['hint']).failures == []
    found = result(pieces, 'hint/seed0')
    assert found['metrics']['fidelity/agreement'] == pytest.approx(0.5 + 20.24)
    made = (pieces / 'work/hint/seed0/last/fidelity/config.py').read_text()
    assert "_base_ = ['../stage.py']" in made


def test_what_one_stage_learns_is_in_the_key(pieces):
    hint, plain = Recipe('hint', pieces / 'hint.py').written, pieces / 'plain.py'
    before = key_of(hint, {})
    assert key_of(hint, {}) == before
    assert key_of(hint, {'train_cfg.max_iters': 50}) != before
    assert key_of(hint, {}) == before  # options change a copy
    plain.write_text(plain.read_text().replace('max_iters=100', 'max_iters=90'))
    assert key_of(hint, {}) != before


@pytest.mark.parametrize(
    ('config', 'start', 'seeds'),
    [
        ('takd-w24_frcnn-w32_frcnn-w16_2k_digits-300', 'student', [1002, 2]),
        ('hint-first_frcnn-w32_frcnn-w16_1k_digits-300', 'hint', [2, 1002]),
    ],
)
def test_the_student_of_a_chain_starts_where_its_first_weights_are(
    config, start, seeds
):
    method = config.partition('-')[0]
    path = ROOT / 'configs' / method / f'{config}.py'
    stages = stages_of(Recipe(method, path).written)
    assert start_of(stages) == start
    assert list(seeds_of(stages, 2).values()) == seeds
