"""A module in place of ``mmcv._ext``, where mmcv was installed without compiling.

mmcv is released as source; without a compiler it installs in seconds but without
``mmcv._ext``, and ``import mmcv.ops`` then fails. The module in its place takes its
operators from :mod:`.operators`, when the first is asked for: torchvision is imported
only then. An operator that is not there raises a clear error when it is called, not
when it is imported.
"""

import importlib.util
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

from ..errors import HostError
from .packages import COMPILE

_NAME = 'mmcv._ext'
# Of the maintained family, these import without the operators, and keep a stand-in.
_TOO_EARLY = ('mmdet.structures', 'mmdet.models', 'mmseg.models')


class _TorchvisionOperators(ModuleType):
    """Module in place of ``mmcv._ext``; unknown operators fail when called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        operators = import_module('.operators', __package__)
        operator = operators.OPERATORS.get(name) or _missing(name)
        setattr(self, name, operator)
        return operator


def _missing(operator: str) -> Callable[..., NoReturn]:
    def call(*args: Any, **kwargs: Any) -> NoReturn:
        raise HostError(
            f"mmcv was installed without its compiled operators, and '{operator}' is "
            'not among those that are replaced (nms, roi_align, sigmoid_focal_loss, '
            'deform_conv, modulated_deform_conv, ms_deform_attn, masked_conv). '
            f'{COMPILE}'
        )

    call.__name__ = operator
    return call


def compiled_operators() -> bool:
    """Whether the mmcv at hand has its own compiled ``_ext``; does not import it."""
    if _NAME in sys.modules:
        return not isinstance(sys.modules[_NAME], _TorchvisionOperators)
    package = importlib.util.find_spec('mmcv')
    folders = package.submodule_search_locations if package else None
    return folders is not None and PathFinder.find_spec(_NAME, folders) is not None


def install_operators() -> bool:
    """Register the torchvision-backed ``mmcv._ext`` where there is no compiled one.

    Returns: whether the replacement is in place after the call.
    """
    if isinstance(sys.modules.get(_NAME), _TorchvisionOperators):
        return True
    if compiled_operators():
        return False
    early = [name for name in _TOO_EARLY if name in sys.modules]
    if early:
        warnings.warn(
            f'{", ".join(early)} was imported before kd_plugins, and without the '
            'operators of mmcv: some of it will not work. Import kd_plugins first.',
            stacklevel=2,
        )
    module = _TorchvisionOperators(_NAME)
    # pkgutil.find_loader and importlib.util.find_spec read it: mmdet and mmcv ask
    # them whether the operators exist.
    module.__spec__ = ModuleSpec(_NAME, loader=None, origin='torchvision')
    sys.modules[_NAME] = module
    return True
