"""The host's runner for strategies, with what a distillation needs."""

import copy
from typing import Any

from mmengine._strategy import BaseStrategy
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import FlexibleRunner

from ..config_files import imports_for, type_name, uses_ours
from ..errors import ConfigError
from ..registry import RUNNERS
from .distilling import (
    check_single,
    is_distiller_type,
    missing_hooks,
    newest_checkpoint,
    with_atomic_checkpoints,
)
from .strategies import DistillFSDPStrategy, strategy_for


@RUNNERS.register_module()
class DistillFlexibleRunner(FlexibleRunner):
    """Trains by a strategy of mmengine's, sharded or not, and distills with it.

    ``runner_type='kd_plugins.DistillFlexibleRunner'`` and ``strategy=dict(
    type='FSDPStrategy')``: student, adapters and losses are sharded, and each process
    has its whole teacher. For one GPU, or several with whole copies, ``DistillRunner``
    does more: it continues the checkpoint of a plain run of the student, too.

    Args: those of the host's ``FlexibleRunner``; ``strategy`` is one of
        'SingleDeviceStrategy', 'DDPStrategy' and 'FSDPStrategy', and ``resume`` also
        'auto', as of ``DistillRunner``.

    Raises: ConfigError for a strategy or hook that cannot serve a distillation.
    """

    _auto = False
    _load_from: str | None
    _resume: bool | str

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'DistillFlexibleRunner':
        """Build it; the config that it dumps and saves imports this package itself."""
        cfg = copy.deepcopy(cfg)
        content = dict(cfg.items())
        check_single(content)
        if content.get('activation_checkpointing') is not None:
            raise ConfigError(
                'is not read by mmengine where a strategy trains. For FSDPStrategy '
                'write strategy=dict(activation_checkpointing=dict(check_fn=...)), '
                "or train with runner_type='kd_plugins.DistillRunner'.",
                key='activation_checkpointing',
            )
        if uses_ours(content):
            cfg['custom_imports'] = imports_for(content)
        auto = cfg.get('resume') == 'auto'
        if auto:
            cfg['resume'] = True
        built: DistillFlexibleRunner = super().from_cfg(cfg)
        built._auto = auto
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

    def load_or_resume(self) -> None:
        """Load the weights to start from, or continue a run."""
        auto = self._auto or (self._resume is True and self._load_from is None)
        if auto and not self._has_loaded:
            newest = newest_checkpoint(self.hooks, self.work_dir)
            if newest is None:
                self._resume = False
                self.logger.info(
                    f'No whole checkpoint to resume in {self.work_dir}: a new run.'
                )
            else:
                self._resume, self._load_from = newest, None
        super().load_or_resume()

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        *args: Any,
        meta: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Save a checkpoint; arguments are those of the host's method.

        ``meta`` counts: the host puts its own count of iterations over that of the
        checkpoint hook, which is too large after a validation.
        """
        self._meta = dict(meta or {})
        super().save_checkpoint(out_dir, filename, *args, meta=meta, **options)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; of a checkpoint to be saved, with the right count."""
        if fn_name == 'before_save_checkpoint':
            kwargs['checkpoint']['meta'].update(self._meta)
        super().call_hook(fn_name, **kwargs)


def check_runner(cfg: Any) -> None:
    """Refuse the host's own runner for strategies where a config distils.

    Raises: ConfigError.
    """
    kind, model = cfg['runner_type'], cfg.get('model') or {}
    if type_name(kind) == FlexibleRunner.__name__ and is_distiller_type(model['type']):
        raise ConfigError(
            "'FlexibleRunner' knows no distillation: its optimiser would clip adapters "
            'with the student, weights of pairs would follow no schedule, and there '
            "would be no student_*.pth. Write 'kd_plugins.DistillFlexibleRunner', with "
            'the same strategy.',
            key='runner_type',
        )
