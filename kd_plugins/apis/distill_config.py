"""The config of a distillation, written from those of its student and its teacher.

It inherits the student's and names the teacher's, so that it is ten lines to read and
to change, and means the same wherever it lies.
"""

import copy
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config_files import config_path, from_anywhere, read_config
from ..engine.files import beside
from ..engine.overrides import apply_overrides

_DISTILL = 'kd_plugins::_base_/distill.py'
_RUNNER = 'kd_plugins.DistillRunner'
_DELETE = '_delete_'
_WIDTH = 88


@dataclass(frozen=True)
class Sources:
    """What a distillation is made of, by names that hold from any folder.

    Attributes:
        student: config; 'mmdet::...' or an absolute path.
        teacher: likewise.
        checkpoint: the teacher's; a URL, 'kd_plugins::...' or an absolute path.
    """

    student: str
    teacher: str
    checkpoint: str

    @classmethod
    def of(cls, student: str, teacher: str, checkpoint: str) -> 'Sources':
        """The same from anywhere, of what a command line names.

        Raises: ConfigError for a name of no package's config.
        """
        return cls(
            from_anywhere(student, 'STUDENT'),
            from_anywhere(teacher, 'TEACHER'),
            checkpoint
            if '::' in checkpoint or '://' in checkpoint
            else os.path.abspath(os.path.expanduser(checkpoint)),
        )

    @property
    def name(self) -> str:
        """Of the config that is written, and of its work folder."""
        return f'{Path(self.student).stem}_from_{Path(self.teacher).stem}'

    def are_of(self, text: str) -> bool:
        """Whether a written config is of these three."""
        names = (self.student, self.teacher, self.checkpoint)
        return all(repr(name) in text for name in names)


def trial_config(sources: Sources, options: Mapping[str, Any] | None) -> Config:
    """The config of a distillation, with its options, before it is written.

    Args:
        sources: what it is made of.
        options: ``--cfg-options``.

    Raises: ConfigError if an option names nothing.
    """
    with tempfile.TemporaryDirectory(prefix='distill_') as folder:
        cfg = read_config(_write(sources, Path(folder), {}, {}))
    apply_overrides(cfg, copy.deepcopy(options))  # merging takes `_delete_` out of it
    return cfg


def write_config(
    sources: Sources, folder: Path, options: Mapping[str, Any] | None = None
) -> Path:
    """Write the config of a distillation, whole or not at all.

    Args:
        sources: what it is made of.
        folder: where it is written, made if it is missing.
        options: ``--cfg-options``; they become part of it.

    Returns: path of the file.
    Raises: ConfigError if an option names nothing; then nothing is written.
    """
    options = dict(options or {})
    merged = trial_config(sources, options).to_dict()
    folder.mkdir(parents=True, exist_ok=True)
    return _write(sources, folder, options, merged)


def _write(
    sources: Sources,
    folder: Path,
    options: Mapping[str, Any],
    merged: Mapping[str, Any],
) -> Path:
    student, base = read_config(sources.student, 'STUDENT'), sources.student
    # A text config cannot inherit one in pure Python: its content stands beside.
    if Config._is_lazy_import(str(config_path(base))):
        base = f'./{sources.name}_student.py'
        _save(student.pretty_text, folder / base)
    path = folder / f'{sources.name}.py'
    assigned: dict[str, Any] = {}
    if 'runner_type' in student:  # two bases may not have the same key
        assigned['runner_type'] = _RUNNER
    if student.get('work_dir') is not None:
        assigned['work_dir'] = str(folder)
    text = _header(sources, path) + _body(sources, base, assigned, options, merged)
    _save(text, path)
    return path


def _save(text: str, path: Path) -> None:
    """Write it whole: other processes write, and read, the same."""
    part = path.with_name(beside(f'{path.name}.{os.getpid()}'))
    part.write_text(text, encoding='utf-8')
    os.replace(part, path)


def _header(sources: Sources, path: Path) -> str:
    return (
        f'# {Path(sources.teacher).stem} teaches\n'
        f'# {Path(sources.student).stem}; written by tools/distill.py.\n'
        f'# Run:    python tools/train.py {path}\n'
        f'# Alone:  python tools/train.py {sources.student}\n'
    )


def _body(
    sources: Sources,
    base: str,
    assigned: Mapping[str, Any],
    options: Mapping[str, Any],
    merged: Mapping[str, Any],
) -> str:
    # The hosts' own tools resolve `_base_` before they import anything of ours.
    bases = [base] if 'runner_type' in assigned else [base, _DISTILL]
    model: dict[str, Any] = {
        _DELETE: True,
        'type': 'kd_plugins.Distiller',
        'student': _Placeholder(sources.student),
        'teacher': {'cfg': sources.teacher, 'checkpoint': sources.checkpoint},
        'pairs': {'type': 'auto'},
    }
    content = {'model': model, **assigned}
    for key, value in options.items():
        # The model is written whole here; of all else, what differs from the base.
        whole = key.partition('.')[0] == 'model'
        _put(content, key.split('.'), value, merged, whole)
    listed = ''.join(f'    {name!r},\n' for name in bases)
    lines = [f"_base_ = __import__('kd_plugins') and [\n{listed}]"]
    lines += [
        f'{key} = {_source(value, 0, key == "model")}' for key, value in content.items()
    ]
    return '\n'.join(lines) + '\n'


@dataclass(frozen=True)
class _Placeholder:
    """The model of the base config.

    Args:
        config: where the same model is read from, to be changed.
    """

    config: str

    def __repr__(self) -> str:
        return '{{_base_.model}}'


def _put(
    node: dict[str, Any], keys: list[str], value: Any, merged: Any, whole: bool
) -> None:
    """Put an option into the content of the config.

    Args:
        node: a dict of the content; changed.
        keys: the option's key below it.
        value: of the option.
        merged: the same dict after all options were merged: a list of a base config is
            replaced whole.
        whole: whether the content inherits nothing there.
    """
    key, *rest = keys
    below = merged[key]
    if isinstance(node.get(key), _Placeholder) and (rest or isinstance(value, dict)):
        node[key] = {'cfg': node[key].config}
    if isinstance(below, (list, tuple)) and rest:
        node[key] = below
    elif rest:
        _put(node.setdefault(key, {}), rest, value, below, whole)
    elif not isinstance(value, dict):
        node[key] = value
    elif value.get(_DELETE) or not isinstance(node.get(key), dict):
        node[key] = _without_deletes(value) if whole else value
    else:
        for inner, item in value.items():
            _put(node[key], [inner], item, below, whole)


def _without_deletes(value: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_deletes(item) if isinstance(item, dict) else item
        for key, item in value.items()
        if key != _DELETE
    }


def _source(value: Any, indent: int, split: bool = False) -> str:
    """Source of a value, as configs are written.

    Args:
        value: dicts, lists, text and numbers.
        indent: columns in front of the line that it stands in.
        split: whether a dict is written an entry a line even if it is short.
    """
    line = _inline(value)
    if not split and indent + len(line) < _WIDTH - 24:
        return line
    inner = ' ' * (indent + 4)
    if isinstance(value, list):
        items = [f'{inner}{_source(item, indent + 4)}' for item in value]
        return '[\n' + ',\n'.join(items) + ']'
    if not isinstance(value, dict):
        return line
    named = _are_names(value)
    entries = [
        f'{inner}{key if named else repr(key)}{"=" if named else ": "}'
        f'{_source(item, indent + 4)}'
        for key, item in value.items()
    ]
    opening, closing = ('dict(', ')') if named else ('{', '}')
    return f'{opening}\n' + ',\n'.join(entries) + closing


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        if _are_names(value):
            entries = [f'{key}={_inline(item)}' for key, item in value.items()]
            return f'dict({", ".join(entries)})'
        entries = [f'{key!r}: {_inline(item)}' for key, item in value.items()]
        return f'{{{", ".join(entries)}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_inline, value))}]'
    if isinstance(value, tuple):
        items = ', '.join(map(_inline, value))
        return f'({items},)' if len(value) == 1 else f'({items})'
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def _are_names(keys: Iterable[str]) -> bool:
    """Whether keys can be written as arguments of ``dict``."""
    return all(key.isidentifier() and not iskeyword(key) for key in keys)
