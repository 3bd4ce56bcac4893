"""What configurations name by ``type``: our own registries, and children of mmengine's.

Losses, adapters, target transforms, schedules, combinations, switches, quantisers,
kinds of teachers and views are known to this package alone; but for teachers and
views, with or without OpenMMLab.
Models, hooks, metrics and the like are built by mmengine, from registries of
:mod:`kd_plugins.hosts.registries`: they are made when one of them is first asked for,
and ``type='kd_plugins.Distiller'`` then resolves from any ``default_scope``.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from kd_plugins.hosts.registries import (
        DATASETS,
        HOOKS,
        METRICS,
        MODEL_WRAPPERS,
        MODELS,
        OPTIM_WRAPPER_CONSTRUCTORS,
        OPTIM_WRAPPERS,
        RUNNERS,
        TRANSFORMS,
    )

__all__ = [
    'ADAPTERS',
    'COMBINATIONS',
    'DATASETS',
    'HOOKS',
    'LOSSES',
    'METRICS',
    'MODELS',
    'MODEL_WRAPPERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'QUANTIZERS',
    'RUNNERS',
    'SCHEDULES',
    'SWITCHES',
    'TARGET_TRANSFORMS',
    'TEACHERS',
    'TRANSFORMS',
    'VIEWS',
    'Registry',
]

Class = TypeVar('Class', bound=type[Any])


class Registry:
    """Classes by the name that a configuration writes.

    A name is taken as it stands, with its dots; only the scope of the package may stand
    in front: 'roi.logits' and 'kd_plugins.roi.logits' are the same class.

    Args:
        name: what it holds, for messages.
        location: the package whose import registers its classes.

    Example:
        >>> shapes = Registry('shape', 'kd_plugins.registry')
        >>> @shapes.register_module(name='round.circle')
        ... class Circle: ...
        >>> shapes.get('kd_plugins.round.circle') is Circle
        True
    """

    def __init__(self, name: str, location: str) -> None:
        self.name = name
        self.location = location
        self.module_dict: dict[str, type[Any]] = {}

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: object) -> type[Any] | None:
        """The class of this name; None if there is none, or it is no name."""
        self.import_from_location()
        if not isinstance(name, str):
            return None
        return self.module_dict.get(name.removeprefix('kd_plugins.'))

    def import_from_location(self) -> None:
        """Import what registers the classes of this package."""
        import_module(self.location)

    @overload
    def register_module(
        self, name: str | None = None, force: bool = False, module: None = None
    ) -> Callable[[Class], Class]: ...

    @overload
    def register_module(
        self, name: str | None = None, force: bool = False, *, module: Class
    ) -> Class: ...

    def register_module(
        self,
        name: str | None = None,
        force: bool = False,
        module: Class | None = None,
    ) -> Class | Callable[[Class], Class]:
        """Register a class, as a decorator or by a call.

        Args:
            name: under which; left out, that of the class.
            force: whether it may take the place of another class.
            module: the class; left out, a decorator is returned.

        Raises: KeyError if the name is taken and ``force`` is not set.
        """

        def register(cls: Class) -> Class:
            key = cls.__name__ if name is None else name
            taken = self.module_dict.get(key)
            if taken not in (None, cls) and not force:
                raise KeyError(
                    f"there is a {self.name} '{key}' already, of {taken.__module__}. "
                    'Choose another name, or register this one with force=True.'
                )
            self.module_dict[key] = cls
            return cls

        return register if module is None else register(module)


LOSSES = Registry('distillation loss', 'kd_plugins.losses')
ADAPTERS = Registry('adapter', 'kd_plugins.adapters')
SCHEDULES = Registry('weight schedule', 'kd_plugins.schedules')
COMBINATIONS = Registry('combination of teachers', 'kd_plugins.combinations')
SWITCHES = Registry('switch of a peer', 'kd_plugins.switches')
TEACHERS = Registry('kind of teacher', 'kd_plugins.teachers')
TARGET_TRANSFORMS = Registry('target transform', 'kd_plugins.target_transforms')
QUANTIZERS = Registry('quantiser', 'kd_plugins.quantizers')
VIEWS = Registry('view', 'kd_plugins.views')

if not TYPE_CHECKING:  # it would hide a misspelt name

    def __getattr__(name: str) -> Any:
        """The registries that have a parent in mmengine; HostError without it."""
        if name not in __all__:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        import_module('kd_plugins.hosts.required')
        return getattr(import_module('kd_plugins.hosts.registries'), name)
