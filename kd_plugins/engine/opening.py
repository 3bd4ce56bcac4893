"""What cost and picture need of the host: a config opened, its data made and read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import HOOKS, init_default_scope
from mmengine.runner import Runner

from ..config_files import read_config, type_name
from .data_files import missing_data_named
from .overrides import apply_overrides

_DATA_HOOK = 'PrepareDataHook'


def open_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """A config, its scope made the current one, its embedded data made.

    Raises: ConfigError for options that name nothing.
    """
    cfg = read_config(path)
    apply_overrides(cfg, options)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    prepare_data(cfg)
    return cfg


def prepare_data(cfg: Config) -> None:
    """Make the embedded data that a config asks for, as its hook would at the start."""
    hooks = [*cfg.get('default_hooks', {}).values(), *(cfg.get('custom_hooks') or ())]
    for hook in hooks:
        if isinstance(hook, dict) and type_name(hook.get('type')) == _DATA_HOOK:
            HOOKS.build(hook)


def first_batch(cfg: Config) -> dict[str, Any]:
    """The first batch of training, on the CPU."""
    with missing_data_named('train_dataloader'):
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batch: dict[str, Any] = next(iter(loader))
    return batch


def measures_fidelity(cfg: Config) -> bool:
    """Whether a config has the hook that measures fidelity."""
    default = cfg.get('default_hooks') or {}
    return any(
        type_name(hook.get('type')) == 'FidelityHook'
        for hook in [*default.values(), *(cfg.get('custom_hooks') or ())]
        if isinstance(hook, Mapping)
    )
