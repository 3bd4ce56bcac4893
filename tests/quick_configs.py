"""Config files that no test changes, ours and the hosts', are parsed once a process.

The host parses a file, and every file that it inherits, each time that it is read: a
tenth of a second for a config of ours, of which the tests read hundreds, many often.
"""

import copy
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config, utils
from mmengine.config.config import ConfigDict

_OURS = Path(__file__).parents[1] / 'configs'
# What may look around, and say something else the next time.
_LOOKS = re.compile(r'^\s*(import|from) |glob', re.M)
_parse = Config._file2dict
_is_lazy = Config._is_lazy_import
_kept: dict[Any, Any] = {}
_reading: list[bool] = []  # of each file that is being read: may it say something else?


def _stays(path: Path) -> bool:
    return path.is_file() and (_OURS in path.parents or '.mim' in path.parts)


def _file2dict(
    filename: str,
    use_predefined_variables: bool = True,
    use_environment_variables: bool = True,
    lazy_import: bool | None = None,
) -> Any:
    arguments = (use_predefined_variables, use_environment_variables, lazy_import)
    path = Path(filename).expanduser().absolute()
    key = (path, arguments, os.environ.get('KD_PLUGINS_DATA'))
    if key in _kept and not ConfigDict.lazy:
        return copy.deepcopy(_kept[key])
    _reading.append(not _stays(path) or bool(_LOOKS.search(path.read_text())))
    try:
        found = _parse(filename, *arguments)  # which reads its bases so, too
    finally:
        # Whatever inherits what looks around does so, too.
        changes = _reading.pop()
        _reading[-1:] = [each or changes for each in _reading[-1:]]
    if not changes and not ConfigDict.lazy:
        _kept[key] = copy.deepcopy(found)
    return found


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
