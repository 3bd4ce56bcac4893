"""What only a part of the package needs, and what it says where that is missing."""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.benchmark.main import report_pages
from kd_plugins.benchmark.statistics import paired_gain
from kd_plugins.datasets import photographs, prepare
from kd_plugins.errors import ConfigError
from kd_plugins.extras import EXTRAS, extra
from kd_plugins.visualization.drawing import font
from tests.test_architecture import MODULES, imports, name_of


def imported_at_once(path: Path) -> Iterator[str]:
    """Names of the modules that a module imports outside of functions."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)


@pytest.mark.slow
def test_what_imports_an_extra_at_once_is_itself_imported_late() -> None:
    extras = {module for modules in EXTRAS.values() for module in modules}
    eager = {
        name_of(path)
        for path in MODULES
        if extras & {name.partition('.')[0] for name in imported_at_once(path)}
    }
    assert 'kd_plugins.datasets.digits' in eager
    early = [
        f'{name_of(path)} imports {module}'
        for path in MODULES
        if name_of(path) not in eager
        for module in eager.intersection(imports(path, lazily=False))
    ]
    assert early == []


def test_a_module_of_no_extra_stays_the_error_that_it_is() -> None:
    with pytest.raises(ModuleNotFoundError), extra('report', 'a plot'):
        raise ModuleNotFoundError(name='kd_plugins.plot')


@pytest.mark.parametrize(
    ('missing', 'use', 'message'),
    [
        (
            ['scipy'],
            lambda _: paired_gain({0: 1.0, 1: 2.0}, {0: 1.0, 1: 1.5}),
            r"an interval needs scipy. Install it: pip install 'kd_plugins\[report\]'",
        ),
        (
            ['matplotlib'],
            lambda _: font(12),
            r"text needs matplotlib. Install it: pip install 'kd_plugins\[report\]'",
        ),
        (
            ['matplotlib', 'kd_plugins.benchmark.pages', 'kd_plugins.benchmark.plots'],
            lambda folder: report_pages([], [], folder / 'report'),
            r"--report needs matplotlib. Install it: pip .*'kd_plugins\[report\]'",
        ),
        (
            ['cv2', 'kd_plugins.datasets.pieces', 'kd_plugins.datasets.mosaics'],
            lambda folder: prepare('mosaics', folder / 'mosaics'),
            r"'mosaics' needs opencv-python. Install it: pip .*'kd_plugins\[demo\]'",
        ),
    ],
)
def test_what_needs_an_extra_names_it(
    missing: list[str],
    use: Callable[[Path], Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in missing:
        if module.startswith('kd_plugins'):  # to be imported again
            monkeypatch.delitem(sys.modules, module, raising=False)
        else:
            monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        use(tmp_path)


def test_photographs_that_are_not_installed_are_of_the_extra_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs.photograph.cache_clear()
    monkeypatch.setattr(photographs, 'find_spec', lambda package: None)
    with pytest.raises(ConfigError, match=r"'mosaics' needs scikit-\w+. Install it"):
        prepare('mosaics', tmp_path / 'mosaics', train=1, val=1)
