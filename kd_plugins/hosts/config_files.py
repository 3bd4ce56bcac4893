"""Config files, wherever they are: ``mmdet::...`` and ``kd_plugins::...`` included."""

from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config

from ..errors import ConfigError


def read_config(path: str | Path, key: str = 'config') -> Config:
    """Read a config file; ``mmdet::...`` is looked for in the package of that name.

    ``Config.fromfile`` alone knows the prefix in ``_base_`` only.

    Args:
        path: of the file.
        key: the config key or argument that named it, for the message.

    Raises: ConfigError if there is no such file.
    """
    try:
        return get_config(str(path)) if '::' in str(path) else Config.fromfile(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{key}: there is no config '{path}' ({error}).") from error
