"""What two recipes begin with alike is trained once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from kd_plugins.benchmark.plan import Run, plan_runs, write_configs
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.benchmark.shared_stages import stages_to_run, take_over_stages
from kd_plugins.engine.stages.records import Record, taken

from .conftest import write_protocol

STAGES = """
stages = dict(
    first=dict(cfg='{folder}/plain.py'),
    second=dict(options=dict(load_from='{{first.student}}')),
    last=dict(options=dict(load_from='{{second.student}}')))
"""


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Run]:
    """Of two recipes of three stages; they differ in the page, so in 'second'."""
    folder = write_protocol(tmp_path)
    for name in ('hint', 'baseline'):
        path = folder / f'{name}.py'
        interval = {'hint': 1, 'baseline': 2}[name]
        path.write_text(
            path.read_text()
            + f'param_scheduler = [dict(type="LinearLR", end={interval})]\n'
            + STAGES.format(folder=folder)
        )
    protocol = read_protocol(folder / 'protocol.py')
    recipes = {name: protocol.recipes[name] for name in ('hint', 'baseline')}
    write_configs(folder / 'work', recipes)
    planned = plan_runs(protocol, folder / 'work', recipes, [0, 1])
    for run in planned:
        run.folder.mkdir(parents=True)
    return {f'{run.recipe}/{run.seed}': run for run in planned}


def train(run: Run, names: Mapping[str, bool]) -> None:
    """Leave what a training leaves: a record, a checkpoint; finished or not."""
    for stage in stages_to_run(run):
        if stage.name in names:
            folder = run.folder / stage.name
            folder.mkdir()
            (folder / 'student.pth').write_text(f'{run.title}, {stage.name}')
            record = Record.of(stage, taken(stage, run.folder) or {})
            if names[stage.name]:
                record.gives = {'student': 'student.pth'}
            record.write(folder)


def test_a_finished_stage_of_another_recipe_is_taken_over(runs: dict[str, Run]) -> None:
    train(runs['hint/0'], {'first': True, 'second': True})
    baseline = runs['baseline/0']
    assert take_over_stages(baseline) == ['first']  # its second one differs
    weights = baseline.folder / 'first' / 'student.pth'
    assert weights.read_text() == 'hint, seed 0, first'


def test_one_that_follows_is_taken_over_too_if_it_took_the_same(
    runs: dict[str, Run],
) -> None:
    hint = runs['hint/0']
    train(hint, {'first': True, 'second': True, 'last': True})
    twin = Run('twin', 0, hint.folder.parents[1] / 'twin' / 'seed0', *_rest(hint))
    twin.folder.mkdir(parents=True)
    assert take_over_stages(twin) == ['first', 'second']  # never the last
    (hint.folder / 'first' / 'student.pth').write_text('trained anew')
    other = Run('other', 0, hint.folder.parents[1] / 'other' / 'seed0', *_rest(hint))
    other.folder.mkdir(parents=True)
    # 'second' of both took the earlier weights: those of 'twin' fit neither.
    assert take_over_stages(other) == ['first']


def _rest(run: Run) -> tuple:
    fidelity = run.fidelity
    return run.arguments, run.options, run.key, fidelity, run.stages, run.start


def test_of_another_seed_or_unfinished_it_is_not(runs: dict[str, Run]) -> None:
    train(runs['hint/0'], {'first': True})
    train(runs['hint/1'], {'first': False})
    assert take_over_stages(runs['baseline/1']) == []
    assert not (runs['baseline/1'].folder / 'first').exists()
