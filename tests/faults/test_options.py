"""Every argument of every loss, adapter, schedule and view, with every wrong value."""

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.build import build
from kd_plugins.errors import LocatedError
from kd_plugins.registry import ADAPTERS, HOOKS, LOSSES, SCHEDULES, VIEWS, Registry
from kd_plugins.schedules import build_schedule
from kd_plugins.signatures import arguments
from tests.faults.config_faults import EXTREME, WRONG, in_time

pytestmark = pytest.mark.host
REFUSED = 'refused, the message names the key'
# Of what an argument is needed for, where a class cannot do without.
NEEDED: dict[str, Any] = {
    'channels': 4,
    'student_channels': 4,
    'teacher_channels': 4,
    'num_classes': 3,
    'tokens': 'tokens.pth',
    'values': [1, 2],
    'milestones': [3],
    'start': 0,
    'end': 1,
    'first': 'backbone',
    'last': 'neck',
}
# What only binding it to two models can tell, tested by the configs; and bytes, which
# are a sequence of numbers.
_BOUND = ('stage', 'layer', 'first', 'last', 'levels')


def _classes() -> Iterator[tuple[Registry, str]]:
    for registry in (LOSSES, ADAPTERS, SCHEDULES, VIEWS):
        registry.import_from_location()
        for name, cls in sorted(registry.module_dict.items()):
            if cls.__module__.startswith('kd_plugins.'):  # tests register others
                yield registry, name


def _types(cls: type[Any]) -> dict[str, Any]:
    """Of the arguments, by name."""
    found: dict[str, Any] = {}
    for each in reversed(inspect.getmro(cls)):
        if '__init__' in vars(each) and each is not object:
            found |= typing.get_type_hints(vars(each)['__init__'])
    return found


def _fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type as it is written; True where that is not known."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(kind))
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    kind = origin or kind
    return not isinstance(kind, type) or isinstance(value, kind)


@pytest.mark.parametrize(
    ('registry', 'name'), list(_classes()), ids=[name for _, name in _classes()]
)
def test_a_wrong_value_is_refused_by_name(
    registry: Registry, name: str, fault: Callable[..., None]
) -> None:
    cls = registry.module_dict[name]
    names, kinds = arguments(cls), _types(cls)
    cfg = {key: value for key, value in NEEDED.items() if key in names}
    if registry is VIEWS and name == 'layer':
        cfg['layer'] = 'neck'
    refused = 0
    for key in names:
        for value in (*WRONG, *EXTREME):
            with in_time():
                message = _refusal(registry, {'type': name, **cfg, key: value})
            if message is not None:
                assert key in message, (key, value, message)
                refused += 1
            elif key not in _BOUND:
                assert _fits(value, kinds.get(key, Any)), (key, value)
    kind = 'a wrong value of an argument (loss, adapter, schedule, view)'
    fault(kind, REFUSED, refused)


def _refusal(registry: Registry, cfg: dict[str, Any]) -> str | None:
    try:
        if registry is SCHEDULES:
            build_schedule(cfg)
        else:
            build(registry, cfg)
    except LocatedError as error:
        return str(error)
    return None


# Of a hook the host's registry says that an argument is unknown; values are ours.
HOOK_CLASSES = (
    'DistillationPicturesHook',
    'FidelityHook',
    'GradientSharesHook',
    'PrepareDataHook',
)
_LATER = ('pairs', 'teacher')  # names, which only the run can tell


@pytest.mark.parametrize('name', HOOK_CLASSES)
def test_a_wrong_value_of_a_hook_is_refused_by_name(
    name: str,
    fault: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = {'dataset': 'digits', 'root': 'data', 'train': 1, 'val': 1}
    cfg = {'type': f'kd_plugins.{name}', **(made if name == 'PrepareDataHook' else {})}
    monkeypatch.chdir(tmp_path)  # data may be made there
    cls = HOOKS.get(cfg['type'])
    refused = 0
    for key in arguments(cls):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{key}x'"):
            HOOKS.build({**cfg, f'{key}x': 1})
        for value in (*WRONG, *EXTREME):
            if key in ('train', 'val') and value in (None, 10**12):
                continue  # so many images would be made
            message = None
            try:
                with in_time():
                    HOOKS.build({**cfg, key: value})
            except LocatedError as error:
                message = str(error)
            if message is not None:
                assert key in message, (key, value, message)
                refused += 1
            elif key not in _LATER:
                assert _fits(value, _types(cls)[key]), (key, value)
    fault('a wrong value of an argument (hook)', REFUSED, refused)
