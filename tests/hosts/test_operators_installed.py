"""Where mmcv is not compiled, its operators are supplied, and only there."""

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from types import ModuleType

import pytest

from kd_plugins.errors import HostError
from kd_plugins.hosts import extension, operators
from kd_plugins.hosts.extension import compiled_operators, install_operators


@pytest.mark.host
def test_environment_report_of_mmcv_works():
    from mmcv.utils import collect_env

    report = collect_env()
    assert report['MMCV Compiler']
    if not compiled_operators():
        assert report['MMCV CUDA Compiler'] == 'not compiled: operators of torchvision'


@pytest.fixture
def uncompiled(monkeypatch):
    """An environment where mmcv has no ``_ext`` and nothing is registered yet."""
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    monkeypatch.setattr(extension.PathFinder, 'find_spec', lambda *_: None)
    for name in extension._TOO_EARLY:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_registered_once_where_there_is_none(uncompiled):
    assert install_operators()
    module = sys.modules['mmcv._ext']
    assert module.__spec__.origin == 'torchvision'
    assert module.nms is operators.nms
    assert install_operators()
    assert sys.modules['mmcv._ext'] is module
    assert not compiled_operators()


def test_other_operators_say_so_when_called(uncompiled):
    install_operators()
    call = sys.modules['mmcv._ext'].softnms
    with pytest.raises(HostError, match=r"without its compiled .* 'softnms' is not"):
        call(1, two=2)


def test_private_names_are_absent(uncompiled):
    install_operators()
    assert not hasattr(sys.modules['mmcv._ext'], '__path__')


def test_warns_if_a_host_was_imported_too_early(uncompiled, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet.structures', ModuleType('structures'))
    with pytest.warns(UserWarning, match='mmdet.structures was imported before'):
        install_operators()


def test_compiled_operators_are_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', ModuleType('mmcv._ext'))
    assert compiled_operators()
    assert not install_operators()
    assert type(sys.modules['mmcv._ext']) is ModuleType


@pytest.mark.host
def test_compiled_operators_are_found_beside_mmcv_without_importing_it(
    uncompiled, monkeypatch, tmp_path
):
    assert not compiled_operators()
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    monkeypatch.delitem(sys.modules, 'mmcv', raising=False)
    folder = tmp_path / 'mmcv'
    folder.mkdir()
    (folder / '__init__.py').write_text('raise AssertionError("imported")')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not compiled_operators()
    (folder / f'_ext{EXTENSION_SUFFIXES[0]}').touch()
    PathFinder.invalidate_caches()
    assert compiled_operators()
    assert not install_operators()


@pytest.mark.slow
def test_torchvision_waits_for_the_first_operator():
    code = """
import sys
import kd_plugins
from kd_plugins.hosts.extension import _TorchvisionOperators
module = _TorchvisionOperators('mmcv._ext')
assert 'torchvision' not in sys.modules
assert module.nms.__module__ == 'kd_plugins.hosts.operators'
assert 'torchvision' in sys.modules
"""
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)
