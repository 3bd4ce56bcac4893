"""The config inside a checkpoint, taken as data: nothing of it is run or imported.

mmengine stores a config as Python source, and reads one by running it; a ``type`` may
name any function that can be imported, and building calls it. A checkpoint from
elsewhere must be able to do neither.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, TASK_UTILS, WEIGHT_INITIALIZERS, Registry

from ..compression.pruning.manifest import NAME as _NARROWED
from ..config_files import type_name
from ..errors import CheckpointError

_OURS = 'kd_plugins'
_ADVICE = 'Give the config it was trained with: --config.'
_SIGNS = {ast.USub: -1, ast.UAdd: 1}


def stored_config(checkpoint: Mapping[str, Any], source: str) -> Config:
    """The config of a checkpoint that was read.

    Args:
        checkpoint: with the source text in ``meta['cfg']``.
        source: its file, for messages.

    Raises: CheckpointError if there is none, or if it is more than plain data.
    """
    text = (checkpoint.get('meta') or {}).get('cfg')
    if not isinstance(text, str):
        raise CheckpointError(f"'{source}' holds no config. {_ADVICE}")
    try:
        content = dict(_assigned(statement) for statement in ast.parse(text).body)
    except (SyntaxError, _NotDataError) as error:
        raise CheckpointError(
            f"The config in '{source}' is not plain data, and is not run: {error}. "
            f'{_ADVICE}'
        ) from None
    imports = (content.get('custom_imports') or {}).get('imports') or ()
    others = [name for name in imports if str(name).partition('.')[0] != _OURS]
    if others:
        raise CheckpointError(
            f"The config in '{source}' asks to import {others}, which is not done on "
            f"a file's word. {_ADVICE}"
        )
    return Config(content)


def check_types(model: object, source: str) -> None:
    """Refuse a model config with types that no registry knows.

    Args:
        model: of a stored config.
        source: its file, for messages.

    Raises: CheckpointError naming them.
    """
    unknown = sorted({kind for kind in _types(model) if not _is_known(kind)})
    if unknown:
        raise CheckpointError(
            f"The config in '{source}' has types that are in no registry, and are not "
            f'built: {unknown}. {_ADVICE}'
        )


class _NotDataError(Exception):
    """An expression that computes something."""


def _assigned(statement: ast.stmt) -> tuple[str, Any]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            return target.id, _value(statement.value)
    raise _NotDataError(f'line {statement.lineno}: {ast.unparse(statement)[:60]}')


def _value(node: ast.AST) -> Any:
    """What an expression of literals and ``dict(...)`` says."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_value(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Set):
        return {_value(item) for item in node.elts}
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key): _value(value) for key, value in pairs if key}
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)] * _value(node.operand)
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):
        return float(node.id)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == 'dict'
        and all(isinstance(argument, ast.Dict) for argument in node.args[:1])
        and len(node.args) <= 1
        and all(keyword.arg for keyword in node.keywords)
    ):
        # A dict whose keys are no identifiers is written dict({...}).
        positional = _value(node.args[0]) if node.args else {}
        return positional | {item.arg: _value(item.value) for item in node.keywords}
    line = getattr(node, 'lineno', 0)
    raise _NotDataError(f'line {line}: {ast.unparse(node)[:60]}')


def _types(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if 'type' in value:
            yield str(value['type'])
            if type_name(value['type']) == _NARROWED:
                yield str(value.get('of'))
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for item in value:
        yield from _types(item)


def _is_known(kind: str) -> bool:
    import mmcv.ops  # RoI layers and 'nms' are looked up there

    for host in ('mmdet', 'mmseg'):  # make themselves known to mmengine's registries
        if find_spec(host) is not None:
            import_module(f'{host}.registry')
    scope, _, name = kind.rpartition('.')
    for registry in _all(MODELS, TASK_UTILS, WEIGHT_INITIALIZERS):
        registry.import_from_location()
        registered = registry.module_dict.get(name)
        if registered is not None:
            # By its path too, as a pure-Python config names it: of what is imported.
            at_path = getattr(sys.modules.get(scope), name, None)
            if scope in ('', registry.scope) or at_path is registered:
                return True
    return not scope and hasattr(mmcv.ops, name)


def _all(*roots: Registry) -> Iterator[Registry]:
    for root in roots:
        yield root
        yield from _all(*root.children.values())
