"""Everything registered is found after ``import kd_plugins`` alone."""

import subprocess
import sys

FOUND = """
import kd_plugins
from kd_plugins import registry
for name, wanted in {
    'MODELS': 'Distiller',
    'LOSSES': 'HintLoss',
    'ADAPTERS': 'ConvAdapter',
    'VIEWS': 'RoIView',
    'SCHEDULES': 'LinearRamp',
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


def test_types_of_ours_are_found_by_name() -> None:
    subprocess.run([sys.executable, '-W', 'ignore', '-c', FOUND], check=True)
