"""The check of a GPU, tried on a CPU: sections, their bounds, and the report."""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.benchmark.device_check import check, precision, row, sections, tests
from kd_plugins.benchmark.device_check import settings as check_settings
from kd_plugins.benchmark.device_check.check import check_device, problems_of
from kd_plugins.benchmark.device_check.sections import run_section
from kd_plugins.benchmark.device_check.settings import (
    Settings,
    open_recipe,
    small_data,
)
from kd_plugins.benchmark.main import Outcome
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.errors import ConfigError

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'gpu_check.py'
# What each section would do: its file, then an end.
ENDS = {
    'tests': (0, {'done': True, 'files': 1, 'tests': [], 'problems': []}),
    'precision': (0, {'done': True, 'rows': [], 'problems': ['kd: a is nan']}),
    'cost': (3, {'done': False, 'rows': [], 'batch_size': 2}),
    'row': (None, {'done': False, 'images': {'train': 8, 'val': 4}}),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / 'out', ROOT, 'cpu', quick=True)


def command(settings: Settings, calls: list[str]) -> Any:
    def started(section: str) -> Sequence[str]:
        calls.append(section)
        code, content = ENDS[section]
        text = json.dumps(content)
        end = 'time.sleep(600)' if code is None else f'sys.exit({code})'
        lines = f'print("ran {section}", flush=True)\n{end}'
        file = settings.out / f'{section}.json'
        program = f'import sys, time\nopen({str(file)!r}, "w").write({text!r})\n{lines}'
        return [sys.executable, '-S', '-c', program]

    return started


@pytest.mark.slow
def test_each_section_ends_in_time_and_what_is_done_stays(settings: Settings) -> None:
    calls: list[str] = []
    said: list[str] = []
    options: dict[str, Any] = dict(minutes=8 / 60, say=said.append)
    content = check_device(settings, command(settings, calls), **options)
    assert calls == list(sections.SECTIONS)
    states = {name: each['state'] for name, each in content['sections'].items()}
    assert states == {
        'tests': 'done',
        'precision': 'done',
        'cost': 'failed',
        'row': 'out of time',
    }
    assert content['sections']['row']['seconds'] < 30
    assert problems_of(content) == [
        'precision: kd: a is nan',
        'cost: failed',
        'row: out of time',
    ]
    text = (settings.out / 'gpu_check.md').read_text()
    assert '- precision: kd: a is nan' in text and 'ran cost' in text
    assert 'Device: name CPU.' in text
    assert json.loads((settings.out / 'gpu_check.json').read_text()) == content
    # Started again, what is done is not done again, unless asked to.
    check_device(settings, command(settings, calls), **options)
    assert calls[4:] == ['cost', 'row']
    check_device(
        settings, command(settings, calls), names=['tests'], fresh=True, **options
    )
    assert calls[6:] == ['tests']


def test_another_device_begins_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    options: dict[str, Any] = dict(minutes=1, names=['tests'], say=lambda text: None)
    check_device(settings, command(settings, calls), **options)
    monkeypatch.setattr(check, 'device_facts', lambda device: {'name': 'another'})
    content = check_device(settings, command(settings, calls), **options)
    assert calls == ['tests', 'tests']
    assert content['device'] == {'name': 'another'}


def test_facts_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        name = 'H200'
        total_memory = 139 * 2**30
        major, minor, multi_processor_count = 9, 0, 132

    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda index: Properties)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)
    facts = check.device_facts('cuda')
    assert (facts['name'], facts['memory_gib'], facts['capability']) == (
        *('H200', 139.0, '9.0'),
    )


def test_tests_are_read_from_pytest_s_report(tmp_path: Path) -> None:
    path = tmp_path / 'tests.xml'
    path.write_text("""<testsuites><testsuite>
        <testcase classname="tests.a" name="one" time="0.5"/>
        <testcase classname="tests.a" name="two" time="1">
          <failure message="assert 1 == 2">...</failure></testcase>
        <testcase classname="tests.a" name="three" time="0">
          <skipped message="no CUDA device"/></testcase>
        </testsuite></testsuites>""")
    found = tests.read_report(path)
    assert [each['outcome'] for each in found] == ['passed', 'failure', 'skipped']
    text = '\n'.join(tests.markdown({'tests': found}))
    assert 'tests.a.two' in text and 'assert 1 == 2' in text


def test_only_files_with_the_mark_are_collected(tmp_path: Path) -> None:
    folder = tmp_path / 'tests'
    folder.mkdir()
    (folder / 'test_a.py').write_text(
        'import pytest\n@pytest.mark.gpu\ndef test_it(): assert 0, "no luck"\n'
    )
    (folder / 'test_b.py').write_text('def test_other(): raise SystemExit\n')
    (tmp_path / 'pytest.ini').write_text('[pytest]\nmarkers = gpu: x\n')
    out = tmp_path / 'out'
    out.mkdir()
    found = tests.run(Settings(out, tmp_path, 'cpu'), lambda content: None)
    (test,) = found['tests']
    assert test['name'] == 'tests.test_a.test_it' and test['outcome'] == 'failure'
    assert 'no luck' in found['problems'][0]


def test_without_the_tests_of_a_checkout_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='needs a checkout, not the installed'):
        tests.run(Settings(tmp_path, tmp_path), lambda content: None)


def test_this_checkout_has_such_tests() -> None:
    found = tests.gpu_tests(ROOT / 'tests')
    assert 'tests/hosts/test_operators.py' in found


def test_the_row_is_one_of_its_protocol(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def benchmark(protocol: Any, work_dir: Path, commands: Any, **options: Any) -> Any:
        asked.update(options, protocol=protocol)
        work_dir.mkdir(parents=True)
        recipe = dict(recipe='full', mean=50.0, seconds=7.25, peak_memory_mib=None)
        (work_dir / 'benchmark.json').write_text(json.dumps({'recipes': [recipe]}))
        return Outcome('', ['full, seed 0: out of luck'])

    monkeypatch.setattr(row, 'benchmark', benchmark)
    monkeypatch.setattr(row, 'prepare', lambda *args, **sizes: asked.update(sizes))
    content = row.run(settings, lambda content: None)
    assert content['problems'] == ['full, seed 0: out of luck']
    assert asked['protocol'].teacher is None and asked['seeds'] == [0]
    assert (asked['train'], asked['val']) == (8, 4)
    assert set(asked['recipes']) <= asked['protocol'].recipes.keys()
    assert '7.25' in '\n'.join(row.markdown(content))


@pytest.mark.host
@pytest.mark.parametrize('name', ['cost_fast_teacher', 'chen2017_digits'])
def test_the_data_of_the_user_are_never_made_anew(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        check_settings, 'prepare', lambda dataset, root, **sizes: made.append(root)
    )
    path = settings.benchmarks / f'{name}.py'
    outside = read_protocol(path)
    recipe = next(iter(outside.cost))
    with pytest.raises(ConfigError, match=r'would make .* anew, of a few images'):
        open_recipe(outside.recipes[recipe])
    folder = settings.out / 'small_data'
    with small_data(folder):
        open_recipe(read_protocol(path).recipes[recipe])
    (root,) = made
    assert folder.resolve() in Path(root).resolve().parents


def test_deviations_and_values_that_are_none() -> None:
    exact = {'values': {'kd': 2.0}, 'gradient': 1.0}
    low = {'values': {'kd': 2.5}, 'gradient': float('nan')}
    measured = {'float32': exact, 'bfloat16': low, 'float16': exact}
    assert precision.not_finite(measured) == ['gradient is nan in bfloat16']
    line = dict(recipe='a', losses=['KDLoss'], measured=measured, problems=[])
    failed = dict(recipe='b', losses=[], problems=['ValueError: bad'])
    text = '\n'.join(precision.markdown({'rows': [line, failed]}))
    assert '25.00 % far' in text and 'ValueError: bad' in text


@pytest.mark.parametrize('name', precision.ALONE)
def test_losses_that_no_recipe_shows_are_measured_by_themselves(
    name: str, settings: Settings
) -> None:
    settings.out.mkdir()
    measured = precision.measure_alone(precision.ALONE[name], settings)
    assert precision.not_finite(measured) == []
    values = [found['values']['alone'] for found in measured.values()]
    assert values[0] > 0 and len(set(values)) == 3
    assert values[1:] == pytest.approx([values[0]] * 2, rel=0.05)


@pytest.mark.slow
@pytest.mark.host
def test_every_loss_has_a_recipe() -> None:
    found = precision.recipes_of_losses(ROOT / 'configs' / 'benchmarks')
    assert set(found) == precision.registered() - set(precision.ALONE)
    assert len({recipe.name for recipe in found.values()}) > 20


@pytest.mark.slow
@pytest.mark.host
@pytest.mark.parametrize('section', ['precision', 'cost'])
def test_a_section_runs_on_a_cpu(
    section: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    settings.out.mkdir()
    run_section(section, settings)
    content = json.loads((settings.out / f'{section}.json').read_text())
    assert content['done'] and content['problems'] == []
    assert '-' in '\n'.join(sections.SECTIONS[section].markdown(content))
    if section == 'cost':
        names = [each['precision'] for each in content['rows']]
        assert names == ['float32', 'TF32', 'bfloat16']
        return
    measured = content['rows'][0]['measured']
    assert set(measured) == {'float32', 'bfloat16', 'float16'}
    hint = [found['values']['hint'] for found in measured.values()]
    assert hint[1] == pytest.approx(hint[0], rel=0.05) and hint[1] != hint[0]
    assert hint[2] == pytest.approx(hint[0], rel=0.05) and hint[2] != hint[0]


def test_without_a_gpu_the_tool_says_so(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    tool = importlib.import_module('tools.gpu_check')
    assert tool.main(['--out', str(tmp_path / 'out')]) == 2
    assert 'torch sees no CUDA device here' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
@pytest.mark.host
@pytest.mark.usefixtures('warm_processes')
def test_the_tool_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = importlib.import_module('tools.gpu_check')
    options = ['--device', 'cpu', '--quick', '--minutes', '30', '--out', str(tmp_path)]
    assert tool.main([*options, '--sections', 'tests', 'row']) == 0
    text = (tmp_path / 'gpu_check.md').read_text()
    assert 'No problem was found.' in text
    assert '| full ' in text and 'skipped' in text
    assert str(tmp_path / 'gpu_check.md') in capsys.readouterr().out
