"""Where mmcv is not compiled, its operators are supplied, and only there."""

import importlib.util
import sys
from types import ModuleType

import pytest

from kd_plugins.errors import HostError
from kd_plugins.hosts import operators


@pytest.mark.host
def test_environment_report_of_mmcv_works():
    from mmcv.utils import collect_env

    report = collect_env()
    assert report['MMCV Compiler']
    if not operators.compiled_operators():
        assert report['MMCV CUDA Compiler'] == 'not compiled: operators of torchvision'


@pytest.fixture
def uncompiled(monkeypatch):
    """An environment where mmcv has no ``_ext`` and nothing is registered yet."""
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        'find_spec',
        lambda name: None if name == 'mmcv._ext' else find_spec(name),
    )
    for name in operators._TOO_EARLY:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_registered_once_where_there_is_none(uncompiled):
    assert operators.install_operators()
    module = sys.modules['mmcv._ext']
    assert module.__spec__.origin == 'torchvision'
    assert module.nms is operators.nms
    assert operators.install_operators()
    assert sys.modules['mmcv._ext'] is module
    assert not operators.compiled_operators()


def test_other_operators_say_so_when_called(uncompiled):
    operators.install_operators()
    call = sys.modules['mmcv._ext'].softnms
    with pytest.raises(HostError, match=r"without its compiled .* 'softnms' is not"):
        call(1, two=2)


def test_private_names_are_absent(uncompiled):
    operators.install_operators()
    assert not hasattr(sys.modules['mmcv._ext'], '__path__')


def test_warns_if_a_host_was_imported_too_early(uncompiled, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet.structures', ModuleType('structures'))
    with pytest.warns(UserWarning, match='mmdet.structures was imported before'):
        operators.install_operators()


def test_compiled_operators_are_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', ModuleType('mmcv._ext'))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    assert operators.compiled_operators()
    assert not operators.install_operators()
    assert type(sys.modules['mmcv._ext']) is ModuleType
