"""Knowledge distillation as a plugin of mmdet and mmsegmentation.

Losses, adapters, schedules, recorders, combinations, switches and quantisers need
torch alone. Everything else needs OpenMMLab: where it is missing, the first thing that
needs it says which command installs it. What is exported here is imported when it is
first asked for.

Where OpenMMLab is installed, importing the package prepares it. It checks that the
installed packages are of one family, whole and new enough, and then

- registers, under the scope ``kd_plugins``, a child of each of mmengine's registries
  ``MODELS``, ``DATASETS``, ``TRANSFORMS``, ``HOOKS``, ``METRICS``, ``RUNNERS``,
  ``MODEL_WRAPPERS``, ``OPTIM_WRAPPERS`` and ``OPTIM_WRAPPER_CONSTRUCTORS``
  (:mod:`kd_plugins.hosts.registries`);
- puts a module of torchvision's operators in place of ``mmcv._ext``
  (``sys.modules``), if mmcv was installed without compiling
  (:mod:`kd_plugins.hosts.extension`);
- adds to ``mmengine.config.utils.MODULE2PACKAGE`` the name ``kd_plugins``, and of the
  maintained family ``mmseg``, so that configs find ``kd_plugins::`` and ``mmseg::``;
- of the maintained family, replaces ``mmengine.utils.package_utils.call_command``,
  by which mmengine would install packages of the original family
  (:mod:`kd_plugins.hosts.config_scopes`).

No other name of the hosts is changed, neither then nor while training: what is replaced
then is replaced on instances that a run made. mmdet and mmseg are not imported: the
registries do that, when something is built.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .hosts import prepare

if TYPE_CHECKING:
    from .distillers import Distiller as Distiller
    from .distillers import MutualDistiller as MutualDistiller
    from .errors import *  # noqa: F403
    from .losses import *  # noqa: F403
    from .recorders import LayerRecorder as LayerRecorder
    from .registry import *  # noqa: F403

__version__ = '0.1.0'

prepare()

# What is exported beside all that these modules list: a new loss needs no line here.
_LISTED = ('kd_plugins.errors', 'kd_plugins.registry', 'kd_plugins.losses')
_SINGLE = {
    'Distiller': 'kd_plugins.distillers',
    'LayerRecorder': 'kd_plugins.recorders',
    'MutualDistiller': 'kd_plugins.distillers',
}

if not TYPE_CHECKING:  # it would hide a misspelt name

    def __getattr__(name: str) -> Any:
        """What is exported, imported when it is first asked for."""
        if name == '__all__':
            return _exported()
        if not name.startswith('_'):
            if name in _SINGLE:
                return getattr(import_module(_SINGLE[name]), name)
            for module in map(import_module, _LISTED):
                if name in module.__all__:
                    return getattr(module, name)
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *_exported()})


def _exported() -> list[str]:
    listed = (name for module in _LISTED for name in import_module(module).__all__)
    return sorted(['__version__', *_SINGLE, *listed])
