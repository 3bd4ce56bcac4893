"""Knowledge distillation as a plugin of mmdet and mmsegmentation.

Importing the package checks the installed hosts, registers the operators that an
uncompiled mmcv lacks, and makes ``kd_plugins::`` known to configs. It does not import
mmdet or mmseg: the registries do, when something is built.
"""

from .hosts import prepare

prepare()

from .errors import (  # noqa: E402  (the hosts first: what follows imports them)
    CheckpointError,
    ConfigError,
    DistillationError,
    HostError,
    ShapeError,
)
from .registry import (  # noqa: E402
    ADAPTERS,
    HOOKS,
    LOSSES,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    RUNNERS,
    SCHEDULES,
    VIEWS,
)

__version__ = '0.1.0'

__all__ = [
    'ADAPTERS',
    'HOOKS',
    'LOSSES',
    'METRICS',
    'MODELS',
    'MODEL_WRAPPERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'RUNNERS',
    'SCHEDULES',
    'VIEWS',
    'CheckpointError',
    'ConfigError',
    'DistillationError',
    'HostError',
    'ShapeError',
]
