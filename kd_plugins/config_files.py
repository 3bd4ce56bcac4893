"""Config files, wherever they are: ``mmdet::...`` and ``kd_plugins::...`` included."""

from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import _get_package_and_cfg_path
from mmengine.hub import get_config

from .errors import ConfigError


def read_config(path: str | Path, key: str = 'config') -> Config:
    """Read a config file; ``mmdet::...`` is looked for in the package of that name.

    ``Config.fromfile`` alone knows the prefix in ``_base_`` only.

    Args:
        path: of the file.
        key: the config key or argument that named it, for the message.

    Raises: ConfigError if there is no such file.
    """
    name = str(path)
    if '::' in name:
        try:
            _get_package_and_cfg_path(name)
        except (AssertionError, ValueError) as error:
            raise ConfigError(
                f"'{name}' names no config of a package; expected is "
                f"'mmdet::<folder>/<file>.py'. mmengine says: {error}",
                key=key,
            ) from error
    try:
        return get_config(name) if '::' in name else Config.fromfile(path)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no config '{path}' ({error}).", key) from error
