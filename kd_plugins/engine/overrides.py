"""``--cfg-options`` that name nothing are errors, with the nearest names.

The hosts merge any key into a config: ``model.pairs.hnt.loss.loss_weight=0.5`` makes a
new pair, and a misspelt argument is noticed late or never.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from mmengine.config import Config

from ..config_files import read_config
from ..errors import ConfigError, nearest
from .arguments import arguments_of_type, known_keys

_DELETE = '_delete_'


def apply_overrides(cfg: Config, options: Mapping[str, Any] | None) -> None:
    """Merge options into a config, once they are found legal.

    Args:
        cfg: the whole config, changed in place.
        options: dotted keys to values, as the hosts' ``DictAction`` parses them.

    Raises: ConfigError as :func:`check_overrides`.
    """
    if options:
        check_overrides(cfg, options)
        cfg.merge_from_dict(dict(options))


def check_overrides(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse options that name nothing.

    A key is legal if it exists in the config, or is an argument of the class that the
    ``type`` beside it (the option's, where it gives one) resolves to, through
    ``**kwargs`` along the MRO; at the top, one of the runner's. What dicts without a
    ``type`` may hold is listed in ``engine.arguments``. A new pair, or a new teacher
    among named ones, is given whole.

    Args:
        cfg: the whole config, before merging.
        options: dotted keys to values.

    Raises: ConfigError naming every illegal key, and those near it.
    """
    content = cfg.to_dict()
    faults = [
        fault
        for key, value in options.items()
        for fault in _faults(content, options, key.split('.'), value)
    ]
    if faults:
        lines = ''.join(f'\n  {fault}' for fault in faults)
        raise ConfigError(f'--cfg-options:{lines}' if len(faults) > 1 else faults[0])


def merge_in_order(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merge options one after the other: a later one may change what an earlier gave.

    Args:
        cfg: the whole config, changed in place.
        options: dotted keys, or keys with dicts of further ones, to values.

    Raises: ConfigError for the first that names nothing.
    """
    for key, value in options.items():
        faults = _faults(cfg.to_dict(), options, key.split('.'), value)
        if faults:
            raise ConfigError(faults[0])
        # Merging takes `_delete_` out of it.
        cfg.merge_from_dict({key: copy.deepcopy(value)})


def _faults(
    cfg: Mapping[str, Any], options: Mapping[str, Any], parts: list[str], value: Any
) -> list[str]:
    node: Any = cfg
    for depth, part in enumerate(parts):
        path, last = parts[:depth], depth == len(parts) - 1
        where = '.'.join(path) or 'the config'
        if _is_list(node):
            if not part.isdigit() or int(part) >= len(node):
                return [f'{".".join(parts)}: {where} {_entries(node)}']
            node = node[int(part)]
        elif not isinstance(node, Mapping):
            return [
                f'{".".join(parts)}: {where} is {node!r}, which has no keys. Give it '
                'whole, in a config.'
            ]
        elif part in node:
            node = node[part]
        else:
            given_whole = isinstance(value, Mapping) and last
            fault = _unknown(cfg, options, path, part, node, given_whole)
            if fault and _is_model(path) and part in (model := _model_of_file(node)):
                node = model[part]
                continue
            if fault:
                return [f'{".".join(parts)}: {fault}']
            if last:
                return []
            node = {}  # of which only the options know anything
    if (
        isinstance(value, Mapping)
        and isinstance(node, Mapping)
        and _DELETE not in value
    ):
        return [
            fault
            for key, entry in value.items()
            for fault in _faults(cfg, options, [*parts, *key.split('.')], entry)
        ]
    return []


def _unknown(
    cfg: Mapping[str, Any],
    options: Mapping[str, Any],
    path: list[str],
    part: str,
    node: Mapping[str, Any],
    given_whole: bool,
) -> str | None:
    """What is wrong with a key that a dict of the config lacks; None: nothing."""
    if part == 'type':
        return None  # building will tell whether it is one
    where = '.'.join(path)
    kind = options.get(f'{where}.type', node.get('type'))
    if not path:
        kind = options.get('runner_type', cfg.get('runner_type', 'Runner'))
    extra = known_keys(where, node)
    if extra is None and kind is None:
        return None  # a free dict
    if extra is not None and extra.given_whole and given_whole:
        return None
    scope = options.get('default_scope', cfg.get('default_scope'))
    arguments = [
        *(extra.names if extra is not None else ()),
        *(arguments_of_type(kind, scope) if kind is not None else ()),
    ]
    if part in arguments:
        return None
    choices = [*map(str, node), *arguments]
    # The keys of the config that a distillation was made from moved one level down.
    choices += [f'student.{key}' for key in node.get('student') or () if path]
    named = kind if isinstance(kind, str) else getattr(kind, '__name__', None)
    owner = f'{where or "the config"}' + (f' ({named})' if named and path else '')
    whole = (
        ' A new one is given whole, in a config.' if extra and extra.given_whole else ''
    )
    return f"{owner} has no '{part}'. {nearest(part, choices)}{whole}"


def _is_model(path: Sequence[str]) -> bool:
    """Whether a path is that of the student, a teacher, a member, or a peer."""
    return path[-1:] in (['student'], ['teacher']) or path[-2:-1] in (
        ['teacher'],
        ['members'],
        ['peers'],
    )


def _model_of_file(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Model of ``dict(cfg='mmdet::...')``, into which what stands beside is merged."""
    from ..teachers.ensemble import is_kind

    if 'cfg' not in node or ('type' in node and not is_kind(node['type'])):
        return {}
    with suppress(ConfigError):  # of a file that is not there, building will tell
        return read_config(node['cfg']).to_dict().get('model', {})  # type: ignore[no-any-return]
    return {}


def _is_list(node: object) -> bool:
    return isinstance(node, Sequence) and not isinstance(node, str)


def _entries(node: Sequence[Any]) -> str:
    if not node:
        return 'is an empty list.'
    last = len(node) - 1
    if not last:
        return 'is a list of one entry: expected the index 0.'
    return f'is a list: expected an index from 0 to {last}.'
