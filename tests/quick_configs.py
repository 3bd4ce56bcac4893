"""Config files that no test changes, ours and the hosts', are parsed once a process.

The host parses a file, and every file that it inherits, each time that it is read: a
tenth of a second for a config of ours, of which the tests read hundreds, many often.
"""

import copy
import os
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config, utils
from mmengine.config.config import ConfigDict

_OURS = Path(__file__).parents[1] / 'configs'
_parse = Config._file2dict
_is_lazy = Config._is_lazy_import


def _stays(path: Path) -> bool:
    return _OURS in path.parents or '.mim' in path.parts


@cache
def _parsed(filename: str, data: str | None, *arguments: Any) -> Any:
    return _parse(filename, *arguments)  # in which ``data``, of the environment, stands


def _file2dict(
    filename: str,
    use_predefined_variables: bool = True,
    use_environment_variables: bool = True,
    lazy_import: bool | None = None,
) -> Any:
    arguments = (use_predefined_variables, use_environment_variables, lazy_import)
    path = os.path.abspath(os.path.expanduser(filename))
    if ConfigDict.lazy or not _stays(Path(path)):
        return _parse(filename, *arguments)
    return copy.deepcopy(_parsed(path, os.environ.get('KD_PLUGINS_DATA'), *arguments))


def _is_lazy_import(filename: str) -> bool:
    path = Path(filename).absolute()
    return _lazy(filename) if _stays(path) else _is_lazy(filename)


_lazy = cache(_is_lazy)


def read_once() -> None:
    """From now on; to be called before anything is read.

    The metafiles that say where a host's config lies, too: it asks all of them.
    """
    utils.load = cache(utils.load)
    Config._file2dict = staticmethod(_file2dict)
    Config._is_lazy_import = staticmethod(_is_lazy_import)
