"""What the sections share: where, on what, how much, and small data."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from ...config_files import read_config, type_name
from ...datasets import prepare
from ...engine.overrides import apply_overrides
from ...errors import ConfigError
from ..protocol import Recipe

DATA = 'KD_PLUGINS_DATA'
_folder: ContextVar[Path | None] = ContextVar('small_data', default=None)
_LOGGER = 'kd_plugins_device_check'


@dataclass(frozen=True)
class Settings:
    """Of one check.

    Attributes:
        out: folder of the results.
        root: of the checkout, with its tests and configs.
        device: 'cuda', or 'cpu' to try the check itself.
        quick: as little as exercises everything.
    """

    out: Path
    root: Path
    device: str = 'cuda'
    quick: bool = False

    @property
    def benchmarks(self) -> Path:
        """Folder of the protocols."""
        return self.root / 'configs' / 'benchmarks'


def quiet() -> None:
    """The hosts would log every initial weight."""
    if not MMLogger.check_instance_created(_LOGGER):
        MMLogger.get_instance(_LOGGER, log_level='WARNING')


@contextmanager
def small_data(folder: Path) -> Iterator[None]:
    """Within, configs find the embedded data sets there, of a few images."""
    before = os.environ.get(DATA)
    os.environ[DATA] = str(folder.resolve())
    token = _folder.set(folder.resolve())
    try:
        yield
    finally:
        _folder.reset(token)
        del os.environ[DATA]
        if before is not None:
            os.environ[DATA] = before


def open_recipe(
    recipe: Recipe, *, train: int = 16, options: Mapping[str, Any] | None = None
) -> Config:
    """A recipe's config whose data set has a few images, made if it is missing.

    Args:
        recipe: of a protocol.
        train: number of training images.
        options: further overrides.

    Raises: ConfigError outside of :func:`small_data`, and for a protocol that was read
        there: the user's own data would be made anew, of a few images.
    """
    cfg = read_config(recipe.config)
    apply_overrides(cfg, {**recipe.options, **(options or {})})
    for hook in cfg.get('custom_hooks') or ():
        if type_name(hook.get('type')) == 'PrepareDataHook':
            _check_inside(hook['root'])
            prepare(hook['dataset'], hook['root'], train=train, val=4)
    cfg.custom_hooks = []
    cfg.train_dataloader.num_workers = 0
    cfg.train_dataloader.persistent_workers = False
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    return cfg


def _check_inside(root: str) -> None:
    folder = _folder.get()
    if folder is None or folder not in Path(root).resolve().parents:
        raise ConfigError(
            f"the check would make '{root}' anew, of a few images; expected a folder "
            f"below '{folder}'. Read the protocol within small_data()."
        )
