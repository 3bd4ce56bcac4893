"""The tools leave busy cores to others, and wait for no thread that has none."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

threads = import_module('tools._threads')
TOOLS = Path(__file__).parents[2] / 'tools'
WITH_TORCH = ('train', 'distill', 'test', 'benchmark', 'analyze')


@pytest.mark.parametrize(
    ('cores', 'busy', 'expected'),
    [
        (2, 0.2, None),  # what a desktop does by itself
        (2, 1.1, '1'),
        (2, 2.0, '1'),
        (8, 3.4, '5'),
        (1, 1.0, None),
    ],
)
def test_busy_cores_are_left_to_others(
    cores: int, busy: float, expected: str | None
) -> None:
    environment: dict[str, str] = {}
    threads.choose(environment, cores, busy)
    assert environment.pop('GOMP_SPINCOUNT') == '10000'
    assert environment == ({'OMP_NUM_THREADS': expected} if expected else {})


def test_on_an_idle_machine_nothing_is_set() -> None:
    environment: dict[str, str] = {}
    threads.choose(environment, 2, 0.05)
    assert environment == {}


@pytest.mark.parametrize('name', threads.VARIABLES)
def test_what_the_user_has_set_stays(name: str) -> None:
    environment = {name: '2'}
    threads.choose(environment, 2, 1.0)
    assert environment == {name: '2'}


def test_busy_cores_are_counted_of_those_that_it_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / 'stat'
    total = 'cpu 9 9 9 9 9 9 9 9 9 9'
    #                      user nice system idle iowait irq softirq steal guest
    stat.write_text(
        f'{total}\ncpu0 100 0 50 1000 10 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n'
        'cpu2 0 0 0 0 0 0 0 0 0 0\nintr 1 2 3\n\n'
    )

    def later(_: float) -> None:
        stat.write_text(
            f'{total}\ncpu0 120 0 60 1025 15 0 0 0 0 0\ncpu1 30 0 0 0 0 0 0 0 0 0\n'
            'cpu2 0 0 0 30 0 0 0 0 0 0\nintr 1 2 3\n\n'
        )

    monkeypatch.setattr(threads.time, 'sleep', later)
    before = stat.read_text()
    for cores, busy in (({0, 2}, 0.5), ({0, 1}, 1.5), ({2}, 0.0), ({7}, 0.0)):
        stat.write_text(before)
        monkeypatch.setattr(threads, '_allowed', lambda cores=cores: cores)
        assert threads.busy_cores(stat=stat) == pytest.approx(busy)


def test_a_machine_that_does_not_tell_is_idle(tmp_path: Path) -> None:
    assert threads.busy_cores(stat=tmp_path / 'nothing') == 0
    (tmp_path / 'stat').write_text('cpu0 unknown\n')
    assert threads.busy_cores(stat=tmp_path / 'stat') == 0


def test_it_imports_no_torch() -> None:
    code = "import sys, _threads; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, '-c', code], cwd=TOOLS, check=True)


@pytest.mark.parametrize('name', WITH_TORCH)
def test_it_comes_before_torch(name: str) -> None:
    text = (TOOLS / f'{name}.py').read_text()
    assert text.index('import _threads') < text.index('import kd_plugins')
