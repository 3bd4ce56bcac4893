"""Fidelity of what a benchmark trained: measured afterwards, of what it was asked."""

import json
import shutil
from pathlib import Path

import pytest

from kd_plugins.benchmark.main import benchmark, report_pages
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.errors import ConfigError

from .conftest import fake_commands, write_protocol


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """'hint' is a distillation, of three seeds; 'plain' is none, of one."""
    folder = write_protocol(tmp_path)
    path = folder / 'protocol.py'
    text = path.read_text().replace("'plain.py'", "'plain.py', seeds=[1]")
    path.write_text(text + 'fidelity = dict(pixels=64)\n')
    hint = (folder / 'hint.py').read_text()
    (folder / 'hint.py').write_text(hint.replace('FasterRCNN', 'kd_plugins.Distiller'))
    assert run(folder) == []
    return folder


def run(folder: Path, **options) -> list[str]:
    """Failures."""
    protocol = read_protocol(folder / 'protocol.py')
    return benchmark(protocol, folder / 'work', fake_commands(), **options).failures


def change_protocol(folder: Path, *changes: tuple[str, str]) -> None:
    path = folder / 'protocol.py'
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def calls(folder: Path) -> list[str]:
    return (folder / 'work' / 'calls.txt').read_text().splitlines()


def result(folder: Path, name: str = 'hint/seed1') -> dict:
    return json.loads((folder / 'work' / name / 'result.json').read_text())


def test_it_is_measured_of_distillations_only(pieces):
    made = (pieces / 'work/hint/seed1/fidelity/config.py').read_text()
    assert "'fidelity': {'type': 'kd_plugins.FidelityHook', 'pixels': 64}" in made
    assert 'Fidelity' not in (pieces / 'work' / 'hint' / 'config.py').read_text()
    assert calls(pieces).count('hint fidelity') == 3
    assert not [call for call in calls(pieces) if 'baseline fidelity' in call]
    assert 'fidelity' not in result(pieces, 'plain/seed1')


def test_what_a_finished_run_lacks_is_measured(pieces):
    path = pieces / 'work' / 'hint' / 'seed1' / 'result.json'
    before = result(pieces)
    assert before['fidelity'] == {'pixels': 64}
    assert before['metrics']['fidelity/kl'] == pytest.approx(0.125)
    assert 'teacher/coco/bbox_mAP' not in before['metrics']
    others = {'fidelity/kl': 9.0, 'fidelity/cka_old': 1.0}
    changed = {**before, 'metrics': {**before['metrics'], **others}}
    path.write_text(json.dumps(changed))
    change_protocol(pieces, ('pixels=64', 'pixels=32'))
    protocol = read_protocol(pieces / 'protocol.py')
    _, markdown = report_pages([protocol], [pieces / 'work'], pieces / 'page')
    text = 'of: hint, seed 0; hint, seed 1; hint, seed 2. Run the benchmark again'
    assert text in markdown.read_text()
    first = len(calls(pieces))
    assert run(pieces, recipes=['hint'], seeds=[1]) == []
    assert calls(pieces)[first:] == ['hint fidelity']  # no training
    assert result(pieces) == {**before, 'fidelity': {'pixels': 32}}
    _, markdown = report_pages([protocol], [pieces / 'work'], pieces / 'page')
    assert 'of: hint, seed 0; hint, seed 2. Run' in markdown.read_text()


def test_a_training_is_not_lost_where_it_fails(pieces, monkeypatch):
    shutil.rmtree(pieces / 'work' / 'hint' / 'seed1')
    monkeypatch.setenv('FAKE_TOOL', 'fail seed1/fidelity')
    (failure,) = run(pieces, recipes=['hint'], seeds=[1])
    assert failure.startswith('hint, seed 1: ended with code 1')
    assert 'fidelity' not in result(pieces)
    monkeypatch.delenv('FAKE_TOOL')
    first = len(calls(pieces))
    assert run(pieces, recipes=['hint'], seeds=[1]) == []
    assert calls(pieces)[first:] == ['hint fidelity']
    assert result(pieces)['fidelity'] == {'pixels': 64}


@pytest.mark.parametrize('fault', ['no checkpoint', 'other data', 'nothing logged'])
def test_of_something_else_it_is_refused(pieces, fault, monkeypatch):
    change_protocol(pieces, ('pixels=64', 'pixels=32'))
    before = result(pieces)
    if fault == 'no checkpoint':
        (pieces / 'work' / 'hint' / 'seed1' / 'iter_100.pth').unlink()
    else:
        monkeypatch.setenv('FAKE_TOOL', fault)
    (failure,) = run(pieces, recipes=['hint'], seeds=[1])
    assert {
        'no checkpoint': 'holds no checkpoint to measure fidelity of',
        'other data': 'is 0.35, and after its training was 0.25',
        'nothing logged': 'the validation logged nothing',
    }[fault] in failure
    assert result(pieces) == before


def test_a_recipe_may_do_without_or_have_its_own(pieces):
    (pieces / 'later.py').write_text(
        (pieces / 'hint.py').read_text()
        + "custom_hooks = [dict(type='kd_plugins.FidelityHook')]\n"
    )
    change_protocol(
        pieces,
        ("'hint.py'", "'hint.py', fidelity=False"),
        ("    'plain':", "    'later': dict(config='later.py'),\n    'plain':"),
        ('pixels=64', 'pixels=32'),
    )
    first = len(calls(pieces))
    assert run(pieces, seeds=[0]) == []
    assert calls(pieces)[first:] == ['later/seed0']


def test_arguments_that_the_hook_does_not_take(pieces):
    change_protocol(pieces, ('pixels=64', 'pixel=64'))
    with pytest.raises(ConfigError, match=r"fidelity: .*unexpected .* 'pixel'"):
        run(pieces)
