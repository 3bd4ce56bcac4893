"""Child registries of mmengine's, scope ``kd_plugins``.

mmengine builds from them: ``type='kd_plugins.Distiller'`` resolves from any
``default_scope`` once the package is imported (``custom_imports`` in a config, or
``configs/_base_/distill.py``).
"""

from mmengine import registry
from mmengine.registry import Registry

_SCOPE = 'kd_plugins'

MODELS = Registry(
    'model',
    parent=registry.MODELS,
    scope=_SCOPE,
    locations=[
        'kd_plugins.distillers',
        'kd_plugins.models',
        'kd_plugins.compression.pruning',
        'kd_plugins.compression.quantization',
    ],
)
HOOKS = Registry(
    'hook',
    parent=registry.HOOKS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.hooks', 'kd_plugins.datasets'],
)
DATASETS = Registry(
    'dataset',
    parent=registry.DATASETS,
    scope=_SCOPE,
    locations=['kd_plugins.datasets'],
)
TRANSFORMS = Registry(
    'transform',
    parent=registry.TRANSFORMS,
    scope=_SCOPE,
    locations=['kd_plugins.datasets'],
)
METRICS = Registry(
    'metric',
    parent=registry.METRICS,
    scope=_SCOPE,
    locations=['kd_plugins.evaluation.metrics'],
)
MODEL_WRAPPERS = Registry(
    'model wrapper',
    parent=registry.MODEL_WRAPPERS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.wrapper'],
)
OPTIM_WRAPPERS = Registry(
    'optim wrapper',
    parent=registry.OPTIM_WRAPPERS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.amp'],
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=registry.OPTIM_WRAPPER_CONSTRUCTORS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.optimizer'],
)
RUNNERS = Registry(
    'runner',
    parent=registry.RUNNERS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.runner', 'kd_plugins.engine.flexible'],
)
