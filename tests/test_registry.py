"""Classes by name: of our own registries, and of those below mmengine's."""

import subprocess
import sys

import pytest

from kd_plugins import registry
from kd_plugins.registry import Registry

FOUND = """
import kd_plugins
from kd_plugins import registry
for name, wanted in {
    'MODELS': 'Distiller',
    'LOSSES': 'HintLoss',
    'ADAPTERS': 'ConvAdapter',
    'VIEWS': 'roi.logits',
    'SCHEDULES': 'LinearRamp',
    'TARGET_TRANSFORMS': 'DKPPTransform',
    'DATASETS': 'SeededViews',
    'HOOKS': 'PrepareDataHook',
    'METRICS': 'ClasswiseIoUMetric',
    'RUNNERS': 'DistillRunner',
    'MODEL_WRAPPERS': 'DistillDistributedDataParallel',
    'OPTIM_WRAPPERS': 'BFloat16OptimWrapper',
    'OPTIM_WRAPPER_CONSTRUCTORS': 'DistillOptimWrapperConstructor',
}.items():
    found = getattr(registry, name).get('kd_plugins.' + wanted)
    assert found is not None, f'{name} has no {wanted}'
"""
# What the class `Distiller` of a config is found through, whatever its default scope.
MODELS = """
import kd_plugins
from mmengine.registry import MODELS
assert MODELS.get('kd_plugins.Distiller').__name__ == 'Distiller'
"""


@pytest.mark.host
@pytest.mark.slow
@pytest.mark.usefixtures('warm_processes')
@pytest.mark.parametrize('code', [FOUND, MODELS], ids=['ours', 'by the host'])
def test_types_of_ours_are_found_by_name(code: str) -> None:
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)


@pytest.fixture
def shapes() -> Registry:
    return Registry('shape', 'kd_plugins.errors')


def test_a_class_is_found_by_its_own_name_or_the_given_one(shapes: Registry) -> None:
    @shapes.register_module()
    class Square:
        pass

    class Circle:
        pass

    assert shapes.register_module(name='disc', module=Circle) is Circle
    assert shapes.module_dict == {'Square': Square, 'disc': Circle}
    assert shapes.get('kd_plugins.Square') is Square
    assert 'disc' in shapes
    assert 'Circle' not in shapes
    assert shapes.get('Circle') is None


def test_a_name_with_dots_is_taken_as_it_stands(shapes: Registry) -> None:
    @shapes.register_module(name='roi.logits')
    class Logits:
        pass

    assert shapes.get('roi.logits') is shapes.get('kd_plugins.roi.logits') is Logits
    assert shapes.get('logits') is None


def test_a_name_is_taken_once_unless_forced(shapes: Registry) -> None:
    class First:
        pass

    class Second:
        pass

    shapes.register_module('one', module=First)
    shapes.register_module('one', module=First)  # as a module that is imported again
    with pytest.raises(KeyError, match=r"there is a shape 'one' already, of .*force="):
        shapes.register_module('one', module=Second)
    assert shapes.register_module('one', force=True)(Second) is Second
    assert shapes.get('one') is Second


@pytest.mark.slow
def test_looking_a_name_up_imports_what_registers_it() -> None:
    code = """
import sys
from kd_plugins.registry import LOSSES
assert LOSSES.module_dict == {}
assert 'HintLoss' in LOSSES
assert 'kd_plugins.losses' in sys.modules
"""
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)


def test_a_misspelt_registry_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'LOSES'"):
        _ = registry.LOSES  # type: ignore[attr-defined]
