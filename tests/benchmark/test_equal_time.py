"""The student alone for as many seconds as a row took, with tools of no time."""

import json
import runpy
from pathlib import Path

import pytest

from kd_plugins.benchmark.equal_time import Ratio, plan_equal_time
from kd_plugins.benchmark.main import Outcome, benchmark, report_pages
from kd_plugins.benchmark.plan import key_of
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.errors import ConfigError

from .conftest import fake_commands, write_protocol

ROOT = Path(__file__).parents[2]
SCHEDULE = """
param_scheduler = [dict(type='CosineAnnealingLR', begin=0, end=100, T_max=100)]
"""


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """'hint' is a distillation whose steps take 1.4 of the baseline's; all have run."""
    folder = write_protocol(tmp_path)
    hint, baseline = folder / 'hint.py', folder / 'baseline.py'
    text = hint.read_text().replace('FasterRCNN', 'kd_plugins.Distiller')
    hint.write_text(text)
    baseline.write_text(baseline.read_text() + SCHEDULE)
    assert run(folder).failures == []
    return folder


def run(folder: Path, **options) -> Outcome:
    protocol = read_protocol(folder / 'protocol.py')
    return benchmark(protocol, folder / 'work', fake_commands(), **options)


def calls(folder: Path) -> list[str]:
    return (folder / 'work' / 'calls.txt').read_text().splitlines()


def row(folder: Path, name: str = 'hint') -> dict:
    recipes = json.loads((folder / 'work' / 'benchmark.json').read_text())['recipes']
    return next(item for item in recipes if item['recipe'] == name)


def write_cost(folder: Path, ratio: float) -> None:
    """What --cost measured of 'hint'."""
    recipe = read_protocol(folder / 'protocol.py').recipes['hint']
    key = key_of(recipe.written, recipe.options)
    machine = {'processor': 'abacus', 'cores': 2, 'device': 'CPU'}
    recipes = [{'recipe': 'hint', 'key': key, 'step_ratio': ratio}]
    content = {'machine': machine, 'versions': {}, 'threads': 1, 'recipes': recipes}
    (folder / 'work' / 'cost.json').write_text(json.dumps(content))


def test_the_baseline_is_trained_as_long_and_shown_beside_the_row(pieces):
    assert 'equal time |' not in run(pieces, report_only=True).markdown
    first = len(calls(pieces))
    outcome = run(pieces, equal_time=True)
    assert outcome.failures == []
    made = [f'equal-time-1.40/seed{seed}' for seed in range(3)]
    assert sorted(calls(pieces)[first:]) == made  # neither the rows nor 'plain'
    result = pieces / 'work' / 'equal-time-1.40' / 'seed0' / 'result.json'
    command = json.loads(result.read_text())['command']
    for option in (
        'train_cfg.max_iters=140',
        'param_scheduler.0.end=140',
        'param_scheduler.0.T_max=140',
        'randomness.seed=0',
    ):
        assert option in command
    # Forty iterations more are two points more: 22, 23, 24; the row has 24, 25, 26.
    assert '| 23.00 ± 1.00 +2.00 [+2.00, +2.00] |' in outcome.markdown
    found = row(pieces)
    assert found['equal_time_ratio'] == pytest.approx(1.4)
    assert found['equal_time_mean'] == pytest.approx(23.0)
    assert found['equal_time_gain'] == pytest.approx(2.0)
    assert row(pieces, 'plain')['equal_time_mean'] is None
    # What is finished is not run again.
    assert run(pieces, equal_time=True).failures == []
    assert len(calls(pieces)) == first + 3


def test_what_was_scaled_by_what_is_written_down(pieces):
    run(pieces, equal_time=True, report_only=True)
    plan = json.loads((pieces / 'work' / 'equal_time.json').read_text())['rows']
    assert list(plan) == ['hint']
    assert plan['hint']['measured'] == pytest.approx(1.4)
    assert (plan['hint']['source'], plan['hint']['trained']) == (
        'trainings',
        'baseline',
    )
    assert plan['hint']['scaled'] == {
        'train_cfg.max_iters': 140,
        'param_scheduler.0.end': 140,
        'param_scheduler.0.T_max': 140,
    }
    assert not (pieces / 'work' / 'equal-time-1.40' / 'seed0').exists()


def test_steps_that_were_timed_say_how_long(pieces):
    write_cost(pieces, 1.81)
    run(pieces, equal_time=True, seeds=[0])
    assert calls(pieces)[-1] == 'equal-time-1.85/seed0'  # rounded up to a twentieth
    assert row(pieces)['equal_time_mean'] == pytest.approx(20 + 85 / 20)
    # Measured again a little otherwise: the same runs.
    write_cost(pieces, 1.87)
    run(pieces, report_only=True, seeds=[0])
    assert row(pieces)['equal_time_ratio'] == pytest.approx(1.85)
    # A step that became cheaper asks for others.
    write_cost(pieces, 1.2)
    assert 'not run yet' in run(pieces, report_only=True, seeds=[0]).markdown
    assert row(pieces)['equal_time_mean'] is None
    run(pieces, equal_time=True, seeds=[0])
    assert calls(pieces)[-1] == 'equal-time-1.20/seed0'


def test_rows_may_share_few_lengths(pieces):
    write_cost(pieces, 1.21)
    run(pieces, equal_time=True, lengths=[2.0, 1.3, 1.2], seeds=[0])
    assert calls(pieces)[-1] == 'equal-time-1.30/seed0'
    # The plan is kept where no lengths are given.
    run(pieces, report_only=True, seeds=[0])
    assert row(pieces)['equal_time_ratio'] == pytest.approx(1.3)
    assert row(pieces)['equal_time_mean'] is not None
    # Beyond the longest: its own.
    run(pieces, equal_time=True, lengths=[1.1], seeds=[0])
    assert calls(pieces)[-1] == 'equal-time-1.25/seed0'


def test_a_step_that_costs_no_more_is_compared_with_the_baseline_itself(pieces):
    write_cost(pieces, 0.99)
    first = len(calls(pieces))
    run(pieces, equal_time=True)
    assert len(calls(pieces)) == first
    assert row(pieces)['equal_time_gain'] == pytest.approx(4.0)


def test_the_page_shows_it_too(pieces):
    run(pieces, equal_time=True)
    protocol = read_protocol(pieces / 'protocol.py')
    page, markdown = report_pages([protocol], [pieces / 'work'], pieces / 'page')
    assert '| 23.00 ± 1.00 +2.00 [+2.00, +2.00] |' in markdown.read_text()
    (line,) = [line for line in page.read_text().splitlines() if '23.00 ± 1.00' in line]
    assert 'class="up"' in line
    assert 'trained for as many seconds as the row' in markdown.read_text()


def test_options_of_every_run_come_before_what_is_scaled(pieces):
    options = {'train_cfg.max_iters': 60}
    write_cost(pieces, 2.0)
    path = pieces / 'work' / 'cost.json'
    recipe = read_protocol(pieces / 'protocol.py').recipes['hint']
    content = json.loads(path.read_text())
    content['recipes'][0]['key'] = key_of(recipe.written, options)
    path.write_text(json.dumps(content))
    run(pieces, equal_time=True, options=options, seeds=[0])
    result = json.loads(
        (pieces / 'work' / 'equal-time-2.00/seed0/result.json').read_text()
    )
    assert 'train_cfg.max_iters=120' in result['command']
    assert 'train_cfg.max_iters=60' not in result['command']


def test_a_row_that_was_not_timed_is_named(folder):
    hint = folder / 'hint.py'
    hint.write_text(hint.read_text().replace('FasterRCNN', 'kd_plugins.Distiller'))
    message = 'costs of hint over one of baseline. Run the benchmark, or --cost, first'
    with pytest.raises(ConfigError, match=message):
        run(folder, equal_time=True, recipes=['hint'])
    with pytest.raises(ConfigError, match='costs of any distillation'):
        run(folder, equal_time=True)


def test_another_recipe_is_trained_as_long_too(pieces):
    protocol = pieces / 'protocol.py'
    text = protocol.read_text()
    protocol.write_text(text + "equal_time = ['plain', 'baseline']\n")
    plain = pieces / 'plain.py'
    plain.write_text(plain.read_text() + SCHEDULE)
    assert run(pieces).failures == []  # 'plain' changed
    first = len(calls(pieces))
    outcome = run(pieces, equal_time=True, seeds=[0])
    # 1.4 of the baseline's time, and 1.4 / 1.2 of that of 'plain'.
    made = ['equal-time-1.40/seed0', 'equal-time-plain-1.20/seed0']
    assert sorted(calls(pieces)[first:]) == made
    assert 'student alone, equal time' in outcome.markdown
    assert 'plain, equal time' in outcome.markdown
    found = row(pieces)
    assert found['equal_time_ratio'] == pytest.approx(1.4)
    assert found['equal_time_plain_ratio'] == pytest.approx(1.2)
    # Twenty iterations more are a point more than the 22 of 'plain'.
    assert found['equal_time_plain_mean'] == pytest.approx(23.0)
    assert found['equal_time_plain_gain'] == pytest.approx(24.0 - 23.0)
    planned = pieces / 'work' / 'equal_time_plain.json'
    assert json.loads(planned.read_text())['rows']['hint']['trained'] == 'plain'


def test_only_one_training_is_made_longer(pieces):
    protocol = pieces / 'protocol.py'
    protocol.write_text(protocol.read_text() + "equal_time = ['plain']\n")
    plain = pieces / 'plain.py'
    plain.write_text(plain.read_text() + 'stages = dict(first=dict(), last=dict())\n')
    assert run(pieces, seeds=[0]).failures == []
    with pytest.raises(ConfigError, match="equal_time names 'plain', which has stages"):
        run(pieces, equal_time=True, seeds=[0])
    protocol.write_text(protocol.read_text().replace("['plain']", "['plian']"))
    with pytest.raises(ConfigError, match=r"equal_time names 'plian', .*'plain'"):
        read_protocol(protocol)


def test_command_line(pieces, capsys):
    main = runpy.run_path(str(ROOT / 'tools' / 'benchmark.py'))['main']
    arguments = [str(pieces / 'protocol.py'), '--work-dir', str(pieces / 'work')]
    assert main([*arguments, '--equal-time', '--report-only', '--seeds', '0']) == 0
    assert 'student alone, equal time' in capsys.readouterr().out
    assert (pieces / 'work' / 'equal_time.json').exists()
    lengths = ['--equal-time', '2', '3', '--report-only', '--seeds', '0']
    assert main([*arguments, *lengths]) == 0
    planned = json.loads((pieces / 'work' / 'equal_time.json').read_text())
    assert planned['rows']['hint']['ratio'] == 2.0
    with pytest.raises(SystemExit):
        main([*arguments, '--equal-time', '0.5'])
    assert "invalid length value: '0.5'" in capsys.readouterr().err
    for other in ('--cost', '--report'):
        with pytest.raises(ConfigError, match=r'Leave out --equal-time\.'):
            main([*arguments, '--equal-time', other])


TRAINED = [
    path
    for path in sorted((ROOT / 'configs' / 'benchmarks').glob('*.py'))
    if not path.stem.startswith('cost_')  # of which nothing is trained
]


@pytest.mark.parametrize('path', TRAINED, ids=lambda path: path.stem)
def test_shipped_protocols_can_be_stretched(path, tmp_path):
    protocol = read_protocol(path)
    ratios = {name: Ratio(1.83, 'steps') for name in protocol.recipes}
    items = []
    for trained in protocol.equal_time:
        rows = plan_equal_time(
            protocol,
            tmp_path,
            protocol.recipes,
            protocol.seeds,
            ratios,
            trained=trained,
        )
        assert rows
        assert not {protocol.baseline, trained} & rows.keys()
        items += rows.values()
    for item in items:
        assert (item.ratio, len(item.runs)) == (1.85, len(protocol.seeds))
        length = item.options['train_cfg.max_iters']
        ends = [value for key, value in item.options.items() if key.endswith('.1.end')]
        assert ends == [length]
