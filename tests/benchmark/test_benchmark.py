"""The whole benchmark, with tools that take no time."""

import csv
import itertools
import json
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import lock_descriptor

from kd_plugins.benchmark.main import benchmark
from kd_plugins.benchmark.plan import plan_runs, teacher_run, write_configs
from kd_plugins.benchmark.plots import gain_against_cost
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.benchmark.report import Report
from kd_plugins.benchmark.runs import Commands, Executor
from kd_plugins.errors import ConfigError

ROOT = Path(__file__).parents[2]
TOOL = Path(__file__).with_name('fake_tool.py')


def run(folder: Path, commands: Commands, **options):
    protocol = read_protocol(folder / 'protocol.py')
    return benchmark(protocol, folder / 'work', commands, **options)


def calls(folder: Path) -> list[str]:
    path = folder / 'work' / 'calls.txt'
    return path.read_text().splitlines() if path.exists() else []


def report(folder: Path) -> dict:
    return json.loads((folder / 'work' / 'benchmark.json').read_text())


def table_of(markdown: str, head: str) -> dict[str, list[str]]:
    """The cells of a table, by the first of their row."""
    lines = [re.sub(r'\s+', ' ', line) for line in markdown.splitlines()]
    first = next(number for number, line in enumerate(lines) if f'| {head}' in line)
    rows = itertools.takewhile(lambda line: line.startswith('|'), lines[first:])
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in rows]
    return {row[0]: row[1:] for row in cells}


def test_tables_hold_what_the_runs_scored(folder, commands):
    outcome = run(folder, commands)
    assert outcome.failures == []
    found = report(folder)
    baseline, hint, plain = found['recipes']
    assert baseline['recipe'] == 'baseline'  # first, wherever the protocol has it
    assert baseline['scores'] == pytest.approx({'0': 20.0, '1': 21.0, '2': 22.0})
    assert baseline['gain'] is None
    assert (hint['mean'], hint['std']) == pytest.approx((25.0, 1.0))
    gain = (hint['gain'], hint['gain_low'], hint['gain_high'])
    assert gain == pytest.approx((4.0, 4.0, 4.0))  # the same in every seed
    assert hint['gap_closed'] == pytest.approx(4 / (50 - 21))
    assert found['teacher'] == pytest.approx(50.0)
    # The slow window of each run, where it validates, moves no median.
    assert hint['time_ratio'] == pytest.approx(1.4)
    assert baseline['seconds'] == pytest.approx(100 * 0.1)
    assert plain['peak_memory_mib'] > 1
    assert found['comparisons'][0]['seen'] == '3 of 3 seeds'
    assert found['warnings'] == []
    cells = table_of(outcome.markdown, 'method | gain')['hint']
    assert cells[:3] == ['+4.00 [+4.00, +4.00]', '25.00 ± 1.00', '14 %']
    assert cells[-1] == 'same'  # initial weights and batches
    assert 'hint > plain' in outcome.markdown
    lines = (folder / 'work' / 'benchmark.csv').read_text().splitlines()
    table = list(csv.DictReader(lines))
    assert [row['recipe'] for row in table] == ['baseline', 'hint', 'plain']
    assert float(table[1]['seed_2']) == pytest.approx(26.0)
    assert table[0]['gain'] == ''
    assert (folder / 'work' / 'benchmark.png').read_bytes()[:4] == b'\x89PNG'


def test_runs_go_seed_by_seed(folder, commands):
    run(folder, commands, jobs=1)
    names = ('baseline', 'hint', 'plain')
    ordered = [f'{name}/seed{seed}' for seed in range(3) for name in names]
    assert calls(folder) == ['teacher', *ordered]


def test_what_is_finished_is_not_run_again(folder, commands):
    run(folder, commands, seeds=[0], recipes=['hint'])
    first = calls(folder)
    assert sorted(first) == ['baseline/seed0', 'hint/seed0', 'teacher']
    run(folder, commands, seeds=[0, 1], recipes=['hint'])
    assert sorted(calls(folder)[3:]) == ['baseline/seed1', 'hint/seed1']


def test_a_changed_config_is_run_again_from_the_start(folder, commands):
    run(folder, commands, seeds=[0])
    config = folder / 'hint.py'
    config.write_text(config.read_text().replace('strength = 4', 'strength = 7'))
    run(folder, commands, seeds=[0])
    assert calls(folder)[4:] == ['hint/seed0']  # not resumed
    assert report(folder)['recipes'][1]['scores']['0'] == pytest.approx(27.0)


def test_another_teacher_checkpoint_is_evaluated_again(folder, commands):
    run(folder, commands, seeds=[0])
    (folder / 'teacher.pth').write_bytes(b'other weights')
    assert 'Teacher: not run yet' in run(folder, commands, report_only=True).markdown
    run(folder, commands, seeds=[0])
    assert calls(folder)[4:] == ['teacher']


def test_an_option_makes_another_run(folder, commands):
    run(folder, commands, seeds=[0], recipes=['plain'])
    run(
        folder,
        commands,
        seeds=[0],
        recipes=['plain'],
        options={'train_cfg.max_iters': 50},
    )
    assert sorted(calls(folder)[3:]) == ['baseline/seed0', 'plain/seed0']
    command = json.loads((folder / 'work/plain/seed0/result.json').read_text())
    assert 'train_cfg.max_iters=50' in command['command']


def test_misspelt_option_names_the_near_one(folder, commands):
    with pytest.raises(ConfigError, match=r"no 'max_iter'. Close: 'max_iters'"):
        run(folder, commands, options={'train_cfg.max_iter': 50})


def test_a_killed_run_is_resumed(folder, commands, monkeypatch):
    monkeypatch.setenv('FAKE_TOOL', 'die')
    outcome = run(folder, commands, seeds=[0], recipes=[], jobs=1)
    assert 'baseline, seed 0: ended with code -9' in outcome.failures[-1]
    assert 'not run yet' in outcome.markdown
    monkeypatch.delenv('FAKE_TOOL')
    assert run(folder, commands, seeds=[0], recipes=[]).failures == []
    assert calls(folder)[-1] == 'baseline/seed0 --resume'
    # Steps done twice count once; both attempts are read.
    assert report(folder)['recipes'][0]['seconds'] == pytest.approx(100 * 0.1)


def test_a_run_resumed_after_its_end_starts_anew(folder, commands, monkeypatch):
    monkeypatch.setenv('FAKE_TOOL', 'die')
    run(folder, commands, seeds=[0], recipes=[])
    monkeypatch.setenv('FAKE_TOOL', 'no validation')
    assert run(folder, commands, seeds=[0], recipes=[]).failures == []
    assert calls(folder)[-2:] == ['baseline/seed0 --resume', 'baseline/seed0']


def test_one_failure_does_not_stop_the_others(folder, commands, monkeypatch):
    monkeypatch.setenv('FAKE_TOOL', 'fail hint/seed0')
    outcome = run(folder, commands, seeds=[0])
    (failure,) = outcome.failures
    assert failure.startswith('hint, seed 0: ended with code 1.')
    assert 'out of luck' in failure  # the end of its output
    assert report(folder)['recipes'][2]['runs'] == 1
    assert report(folder)['comparisons'][0]['seen'] is None


def test_report_only_marks_what_is_not_run_yet(folder, commands):
    run(folder, commands, seeds=[0], recipes=['hint'])
    before = calls(folder)
    outcome = run(folder, commands, report_only=True)
    assert calls(folder) == before
    assert '- Runs: 2 of 9 finished' in outcome.markdown
    assert table_of(outcome.markdown, 'method | gain')['plain'][0] == 'not run yet'
    seeds = table_of(outcome.markdown, 'method | seed 0')['hint'][:3]
    assert seeds == ['24.00', 'not run yet', 'not run yet']
    found = report(folder)
    assert found['recipes'][1]['not_run_yet'] == [1, 2]
    assert found['recipes'][2]['mean'] is None


def test_report_of_nothing(folder, commands):
    outcome = run(folder, commands, report_only=True)
    assert '- Runs: 0 of 9 finished' in outcome.markdown
    assert 'Teacher: not run yet' in outcome.markdown


def test_another_start_is_told(folder, commands, monkeypatch):
    monkeypatch.setenv('FAKE_TOOL', 'other start')
    outcome = run(folder, commands, seeds=[1])
    assert (
        'Seed 1: the initial weights of the student differ between: '
        'baseline, plain; hint.' in outcome.markdown
    )


def test_a_start_of_its_own_is_no_warning_but_told(folder, commands, monkeypatch):
    monkeypatch.setenv('FAKE_TOOL', 'other start')
    path = folder / 'protocol.py'
    path.write_text(path.read_text().replace("'hint.py'", "'hint.py', own_start=True"))
    markdown = run(folder, commands, seeds=[1]).markdown
    assert 'differ between' not in markdown
    rows = table_of(markdown, 'method | gain')
    assert (rows['hint'][-1], rows['plain'][-1]) == ('own weights', 'same')


def test_another_machine_is_told(folder, commands):
    run(folder, commands, seeds=[0])
    path = folder / 'work' / 'hint' / 'seed0' / 'result.json'
    result = json.loads(path.read_text())
    result['machine']['cores'] = 1000
    del result['start']
    path.write_text(json.dumps(result))
    warnings = '\n'.join(
        run(folder, commands, seeds=[0], report_only=True).markdown.splitlines()
    )
    assert 'on different machines' in warnings
    assert (
        'Seed 0: initial weights of the student of hint were not recorded' in warnings
    )


def test_a_folder_of_somebody_else_is_left_alone(folder, commands):
    own = folder / 'work' / 'baseline' / 'seed0' / 'thesis.txt'
    own.parent.mkdir(parents=True)
    own.write_text('years of work')
    outcome = run(folder, commands, seeds=[0], recipes=[])
    assert 'holds files that no benchmark wrote' in outcome.failures[0]
    assert own.read_text() == 'years of work'


def test_a_metric_that_there_is_not_names_the_near_one(folder, commands):
    path = folder / 'protocol.py'
    path.write_text(path.read_text().replace('coco/bbox_mAP', 'coco/bbox_map'))
    outcome = run(folder, commands, seeds=[0], recipes=[])
    assert "gave no 'coco/bbox_map'. Close: 'coco/bbox_mAP'" in outcome.failures[-1]


def test_a_run_whose_benchmark_was_killed_is_waited_for(folder, commands):
    work = folder / 'work' / 'baseline' / 'seed0'
    work.mkdir(parents=True)
    ended = folder / 'ended'
    code = f"import time; time.sleep(1); open({str(ended)!r}, 'w').close()"
    with open(work / '.lock', 'w') as lock:
        lock_descriptor(lock.fileno())
        orphan = subprocess.Popen(
            [sys.executable, '-S', '-c', code], pass_fds=(lock.fileno(),)
        )
    # Its parent's handle is closed, as by a kill; the lock is the orphan's now.
    assert run(folder, commands, seeds=[0], recipes=[]).failures == []
    assert ended.exists()
    orphan.wait()


def test_an_interruption_leaves_no_process_behind(folder, commands):
    """One run ends, the user interrupts, and the other is ended too."""
    code = f"""
import runpy, sys, time
if 'plain' in ' '.join(sys.argv):
    time.sleep(60)
sys.argv[0] = {str(TOOL)!r}
runpy.run_path({str(TOOL)!r}, run_name='__main__')
"""
    tool = (sys.executable, '-S', '-c', code)
    protocol = read_protocol(folder / 'protocol.py')
    recipes = {name: protocol.recipes[name] for name in ('plain', 'baseline')}
    work = folder / 'work'
    write_configs(work, recipes)
    runs = plan_runs(protocol, work, recipes, [0])
    executor = Executor(Commands((*tool, 'train'), tool), protocol.metric, jobs=2)

    def interrupted() -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        executor.run_all(runs, interrupted)
    assert time.monotonic() - start < 30
    assert [run.result() is not None for run in runs] == [False, True]


def change(folder: Path, old: str, new: str) -> None:
    path = folder / 'protocol.py'
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_details_are_means_a_row_each_a_column_a_metric(folder, commands):
    change(folder, 'workers = 2', "workers = 2\ndetails = ['rmse', 'IoU.*']")
    markdown = run(folder, commands).markdown
    assert '### Means over seeds, times 100\n' in markdown
    table = table_of(markdown, 'method | rmse')
    assert table['method'] == ['rmse', 'IoU.brick', 'IoU.sky']
    assert table['baseline'] == ['29.00', '42.00', '—']
    assert table['hint'] == ['25.00', '50.00', '25.00']
    assert table['plain'] == ['27.00', '46.00', '23.00']
    assert table['teacher'] == ['5.00', '—', '90.00']
    rmse, _, sky = report(folder)['details']
    assert rmse['recipes']['hint']['std'] == pytest.approx(1.0)
    assert sky['recipes']['baseline'] is None
    assert report(folder)['warnings'] == []


def test_a_detail_that_no_run_has_names_the_near_one(folder, commands):
    before = run(folder, commands, seeds=[0])
    assert '### Means over seeds' not in before.markdown
    change(folder, 'workers = 2', "details = ['IoU.brik', 'rmse']")
    # Of runs on disk, which are not done again.
    markdown = run(folder, commands, seeds=[0], report_only=True).markdown
    assert 'teacher' in table_of(markdown, 'method | rmse')
    change(folder, "checkpoint='teacher.pth'", 'score=0.5')
    given = run(folder, commands, seeds=[0], report_only=True).markdown
    assert 'teacher' not in table_of(given, 'method | rmse')
    fault = "details: no finished run gave 'IoU.brik'. Close: 'IoU.brick'"
    assert f'- **{fault}' in markdown
    assert table_of(markdown, 'method | rmse')['baseline'] == ['30.00']
    assert fault in report(folder)['warnings'][0]


def test_details_wait_for_a_finished_run(folder, commands):
    change(folder, 'workers = 2', "details = ['anything']")
    markdown = run(folder, commands, report_only=True).markdown
    assert 'details:' not in markdown


def test_of_an_error_lower_is_better(folder, commands):
    old = "metric = 'coco/bbox_mAP'\nscale = 100\nunit = 'mAP'"
    new = "metric = 'rmse'\nlower_is_better = True\nunit = 'rmse'\ndecimals = 3"
    change(folder, old, new)
    markdown = run(folder, commands).markdown
    found = report(folder)
    baseline, hint, plain = found['recipes']
    assert (baseline['mean'], hint['mean']) == pytest.approx((0.29, 0.25))
    assert (hint['gain'], plain['gain']) == pytest.approx((0.04, 0.02))
    # Of the way down from 0.29 to the teacher's 0.05.
    assert hint['gap_closed'] == pytest.approx(0.04 / 0.24)
    (comparison,) = found['comparisons']
    assert comparison['gain'] == pytest.approx(0.02)
    assert comparison['seen'] == '3 of 3 seeds'
    cells = table_of(markdown, 'method | gain')['hint']
    assert cells[:3] == ['+0.040 [+0.040, +0.040]', '0.250 ± 0.010', '17 %']
    assert 'hint < plain' in markdown
    assert 'Lower is better: a gain is by how much a score is below.' in markdown
    change(folder, "('hint', 'plain')", "('plain', 'hint')")
    run(folder, commands, report_only=True)
    assert report(folder)['comparisons'][0]['seen'] == '0 of 3 seeds'


@pytest.mark.parametrize('lower', [False, True])
def test_plot_has_gains_upwards_and_costs_to_the_right(folder, commands, lower):
    if lower:
        change(folder, "'coco/bbox_mAP'", "'rmse'\nlower_is_better = True")
    run(folder, commands, seeds=[0])
    protocol = read_protocol(folder / 'protocol.py')
    runs = plan_runs(protocol, folder / 'work', protocol.recipes, [0])
    teacher = teacher_run(protocol, folder / 'work')
    report = Report(protocol, runs, teacher)
    assert report.lead == pytest.approx(25.0 if lower else 30.0)
    axes = gain_against_cost(report, 860, 460).axes[0]
    points = {
        line.get_url(): [line.get_xdata()[0], line.get_ydata()[0]]
        for line in axes.lines
        if line.get_gid() == 'hollow'
    }
    assert points['#protocol--hint'] == pytest.approx([1.4, 4.0])
    assert points['#protocol--plain'] == pytest.approx([1.2, 2.0])


def test_a_run_that_diverged_failed(folder, commands, monkeypatch):
    monkeypatch.setenv('FAKE_TOOL', 'diverge')
    failures = run(folder, commands, seeds=[0], recipes=[]).failures
    assert "'coco/bbox_mAP' of the validation is nan" in failures[-1]
    assert report(folder)['recipes'][0]['mean'] is None


def test_command_line(folder, capsys):
    tool = runpy.run_path(str(ROOT / 'tools' / 'benchmark.py'))
    arguments = [str(folder / 'protocol.py'), '--work-dir', str(folder / 'work')]
    assert tool['main']([*arguments, '--report-only', '--seeds', '0', '5']) == 0
    assert '- Runs: 0 of 6 finished' in capsys.readouterr().out
    with pytest.raises(ConfigError, match="'cost' names no recipe"):
        tool['main']([*arguments, '--cost'])
