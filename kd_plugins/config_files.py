"""Config files, wherever they are: ``mmdet::...`` and ``kd_plugins::...`` included."""

import os
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config import config as mmengine_config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.utils import get_installed_path, is_installed

from .errors import ConfigError, HostError
from .hosts.packages import check_packages

_OURS = 'kd_plugins'
_NAMING = ('type', 'constructor', 'runner_type')  # keys whose values are classes
_NAME = re.compile(r'(\w+)::([^:]+/[^:]+)')
# What mmengine understands in `_base_`; 'mmdet::gn+ws/...' is more than that.
_UNDERSTOOD = re.compile(r'\w+::\w+/')


def read_config(path: str | Path, key: str = 'config') -> Config:
    """Read a config file; ``mmdet::...`` is looked for in the package of that name.

    ``Config.fromfile`` alone knows the prefix in ``_base_`` only.

    Args:
        path: of the file.
        key: the config key or argument that named it, for the message.

    Raises: ConfigError if there is no such file, or a mistake in what it or one of its
        bases says; HostError if its package is missing.
    """
    file = config_path(path, key)
    try:
        return Config.fromfile(file)
    except FileNotFoundError as error:
        message = f"there is no config '{path}', looked from '{Path.cwd()}' ({error})."
        raise ConfigError(message, key) from error
    except ValueError as error:
        if '_get_package_and_cfg_path' not in str(error):
            raise
        cures = [
            f" In place of '{name}' write '{config_path(name, key)}'."
            for name in _not_understood(file)
        ]
        raise ConfigError(
            f"'{path}' or one of its bases names in `_base_` a config of a package in "
            'a way that mmengine does not understand: a folder of letters, digits and '
            'underscores, as in mmdet::<folder>/<file>.py. Give the path of the file.'
            f'{"".join(cures)}',
            key,
        ) from error
    except Exception as error:
        fault = _fault(error)
        if fault is None:
            raise
        raise ConfigError(f"'{path}' cannot be read: {fault}", key) from error


def _fault(error: Exception) -> str | None:
    """What a config says wrong; None for an error in what it imports, or elsewhere."""
    if isinstance(error, SyntaxError) and error.filename == '<unknown>':  # as parsed
        text = (error.text or '').strip()
        where = f"line {error.lineno} of it, or of a base of it, is no Python: '{text}'"
        return f'{where} ({error.msg}).'
    caller, last = traceback.extract_tb(error.__traceback__)[-2:]
    told = str(error) if isinstance(error, TypeError | OSError) else repr(error)
    if mmengine_config.__file__ == last.filename:
        if isinstance(error, KeyError) and last.name == '__missing__':
            return (
                'it, or a base of it, names by {{_base_. ...}} a key '
                f"'{error.args[0]}', which is in no base."
            )
        return told
    if mmengine_config.__file__ == caller.filename and last.name == '<module>':
        return f"'{last.filename}', line {last.lineno}: {told}."
    return None


def config_path(path: str | Path, key: str = 'config') -> Path:
    """Where a config file is.

    Args:
        path: of the file, or ``<package>::<path below its configs>``, of which mmengine
            itself refuses some, such as ``mmdet::gn+ws/...``.
        key: the config key or argument that named it, for the message.

    Raises: ConfigError for a name that names no config of a package; HostError if that
        package is missing.
    """
    if not isinstance(path, (str, Path)):
        raise ConfigError(f'must be the path of a config file, got {path!r}.', key)
    name = str(path)
    if '::' not in name:
        return Path(path)
    match = _NAME.fullmatch(name)
    package = MODULE2PACKAGE.get(match[1]) if match else None
    if match is None or package is None:
        raise ConfigError(
            f"'{name}' names no config of a package; expected is "
            "'mmdet::<folder>/<file>.py', of mmdet, mmseg or kd_plugins.",
            key,
        )
    if not is_installed(package):
        family = check_packages()
        command = family.command([match[1]]) if match[1] in family.packages else ''
        raise HostError(
            f"{key}: '{name}' needs {match[1]}, which is missing. {command}"
        )
    folder = os.path.abspath(get_installed_path(package))
    return Path(folder, '.mim', 'configs', match[2])


def from_anywhere(path: str | Path, key: str = 'config') -> str:
    """A config's name for a ``_base_`` or ``cfg`` in any folder.

    Args:
        path: of the file, or ``<package>::<path below its configs>``.
        key: the config key or argument that named it, for the message.

    Returns: the name with its package, where mmengine understands it; else an absolute
        path.

    Raises: as :func:`config_path`.
    """
    if _UNDERSTOOD.match(str(path)):
        return str(path)
    return os.path.abspath(config_path(path, key).expanduser())


def type_name(kind: object) -> str:
    """The class's own name in a ``type``, which is a class, its path or its name.

    Example:
        >>> type_name('kd_plugins.FidelityHook')
        'FidelityHook'
        >>> type_name(Config)
        'Config'
    """
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
    return str(name).rpartition('.')[2]


def is_ours(kind: object) -> bool:
    """Whether a ``type`` is of this package: a class, its path, or our scope's name.

    Example:
        >>> is_ours('kd_plugins.Distiller'), is_ours('mmdet.ResNet')
        (True, False)
    """
    module = kind if isinstance(kind, str) else getattr(kind, '__module__', '')
    return str(module).partition('.')[0] == _OURS and kind != _OURS


def uses_ours(content: object) -> bool:
    """Whether something in a config is of a ``type`` of this package."""
    if isinstance(content, Mapping):
        return any(
            is_ours(value) if key in _NAMING else uses_ours(value)
            for key, value in content.items()
        )
    return isinstance(content, (list, tuple)) and any(map(uses_ours, content))


def imports_for(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """``custom_imports`` of a whole config: with this package, where it needs it.

    Args:
        content: of the config, with the imports that it has.

    Returns: None where nothing is to be imported.
    """
    imports = dict(content.get('custom_imports') or {'allow_failed_imports': False})
    listed = imports.get('imports') or ()
    names = [listed] if isinstance(listed, str) else list(listed)
    others = [name for name in names if name.partition('.')[0] != _OURS]
    if not uses_ours(content):
        names = others
    elif names == others:
        names = [_OURS, *others]
    return {**imports, 'imports': names} if names else None


def _not_understood(file: Path) -> Iterator[str]:
    for name in re.findall(r"""['"](\w+::[^'":]+)['"]""", file.read_text()):
        if not _UNDERSTOOD.match(name):
            yield name
