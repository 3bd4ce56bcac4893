"""The host's runner for strategies, with what a distillation needs."""

import copy
from typing import Any

from mmengine._strategy import BaseStrategy
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import FlexibleRunner

from ..config_files import imports_for, type_name, uses_ours
from ..errors import ConfigError
from ..registry import RUNNERS
from .distilling import is_distiller_type, missing_hooks, with_atomic_checkpoints
from .strategies import DistillFSDPStrategy, strategy_for


@RUNNERS.register_module()
class DistillFlexibleRunner(FlexibleRunner):
    """Trains by a strategy of mmengine's, sharded or not, and distills with it.

    ``runner_type='kd_plugins.DistillFlexibleRunner'`` and ``strategy=dict(
    type='FSDPStrategy')``: student, adapters and losses are sharded, and each process
    has its whole teacher. For one GPU, or several with whole copies, ``DistillRunner``
    does more: the newest *whole* checkpoint is found on resume, and the checkpoint of
    a plain run of the student can be resumed.

    Args: those of the host's ``FlexibleRunner``; ``strategy`` is one of
        'SingleDeviceStrategy', 'DDPStrategy' and 'FSDPStrategy'.

    Raises: ConfigError for a strategy or hook that cannot serve a distillation.
    """

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'DistillFlexibleRunner':
        """Build it; the config that it dumps and saves imports this package itself."""
        cfg = copy.deepcopy(cfg)
        content = dict(cfg.items())
        if content.get('activation_checkpointing') is not None:
            raise ConfigError(
                'is not read by mmengine where a strategy trains. For FSDPStrategy '
                'write strategy=dict(activation_checkpointing=dict(check_fn=...)), '
                "or train with runner_type='kd_plugins.DistillRunner'.",
                key='activation_checkpointing',
            )
        if uses_ours(content):
            cfg['custom_imports'] = imports_for(content)
        built: DistillFlexibleRunner = super().from_cfg(cfg)
        return built

    def build_strategy(
        self,
        strategy: BaseStrategy | dict[str, Any] | None = None,
        launcher: str = 'none',
        **options: Any,
    ) -> BaseStrategy:
        """Ours of the same name."""
        if isinstance(strategy, BaseStrategy):
            raise ConfigError(
                f'strategy must be a dict with a type, got a {type(strategy).__name__}.'
            )
        options['env_cfg'] = options.get('env_cfg') or {}  # the host passes None on
        fitted = strategy_for(strategy, launcher)
        built = super().build_strategy(fitted, launcher=launcher, **options)
        built.cfg = self.cfg
        return built

    def register_hook(self, hook: Hook | dict[str, Any], priority: Any = None) -> None:
        """Register it; our checkpoint hook in place of the host's, same arguments.

        Raises: ConfigError for averaged weights beside shards.
        """
        averages = (
            type_name(hook['type']) == EMAHook.__name__
            if isinstance(hook, dict)
            else isinstance(hook, EMAHook)
        )
        if averages and isinstance(self.strategy, DistillFSDPStrategy):
            raise ConfigError(
                'custom_hooks: EMAHook copies the whole model, and FSDPStrategy holds '
                "shards. Remove it, or use strategy=dict(type='DDPStrategy')."
            )
        super().register_hook(with_atomic_checkpoints(hook), priority)

    def register_hooks(
        self,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[Any] | None = None,
    ) -> None:
        """Register the config's, then ours that it does not name."""
        super().register_hooks(default_hooks, custom_hooks)
        # The host builds the model later.
        distills = isinstance(self.model, dict) and is_distiller_type(
            self.model['type']
        )
        for hook in missing_hooks(self.hooks, distills):
            self.register_hook(hook)
