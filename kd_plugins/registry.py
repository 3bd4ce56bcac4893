"""Child registries of mmengine's, scope ``kd_plugins``.

``type='kd_plugins.Distiller'`` resolves from any ``default_scope`` once the package
is imported (``custom_imports`` in a config, or ``configs/_base_/distill.py``).
"""

from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import Registry

_SCOPE = 'kd_plugins'

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope=_SCOPE,
    locations=['kd_plugins.distillers', 'kd_plugins.models'],
)
# Without a parent: a parent can have one child of a scope, and MODELS' is taken above.
LOSSES = Registry('distillation loss', scope=_SCOPE, locations=['kd_plugins.losses'])
ADAPTERS = Registry('adapter', scope=_SCOPE, locations=['kd_plugins.adapters'])
VIEWS = Registry('view', scope=_SCOPE, locations=['kd_plugins.views'])
SCHEDULES = Registry(
    'weight schedule', scope=_SCOPE, locations=['kd_plugins.schedules']
)
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.hooks', 'kd_plugins.datasets'],
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope=_SCOPE,
    locations=['kd_plugins.evaluation.metrics'],
)
MODEL_WRAPPERS = Registry(
    'model wrapper',
    parent=MMENGINE_MODEL_WRAPPERS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.wrapper'],
)
OPTIM_WRAPPERS = Registry(
    'optim wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.amp'],
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.optimizer'],
)
RUNNERS = Registry(
    'runner',
    parent=MMENGINE_RUNNERS,
    scope=_SCOPE,
    locations=['kd_plugins.engine.runner'],
)
