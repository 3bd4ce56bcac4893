"""The host's strategies, with what a distillation needs; the teacher stays outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine._strategy import (
    BaseStrategy,
    DDPStrategy,
    FSDPStrategy,
    SingleDeviceStrategy,
)
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.optim import OptimWrapperDict
from mmengine.runner import weights_to_cpu
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from ..config_files import type_name
from ..distillers.auxiliary import check_schedules
from ..distillers.interface import is_distiller, unwrap
from ..distillers.student import student_config
from ..errors import ConfigError
from . import files
from .distilling import optim_wrapper_cfg, save_student, wrapper_cfg
from .launch import start_cpu_processes
from .shards import ClipShards

_LAUNCH = 'Start it with torchrun and --launcher pytorch, or use DistillRunner.'
_REASONS = {
    'DeepSpeedStrategy': (
        "its engine steps the optimiser and saves its own shards: the adapters' group "
        "and the student's own checkpoint would be lost"
    ),
    'ColossalAIStrategy': (
        'its booster rebuilds model and optimiser: recorders and the optimiser of '
        'adapters would not fit what it made'
    ),
}


class _Distilling(BaseStrategy):
    """What all of them share; stands in front of a strategy of the host's.

    Attributes:
        cfg: the whole config; set by the runner.
    """

    cfg: Config
    model_wrapper: dict[str, Any] | None
    _student_text: str | None = None

    def _setup_distributed(self, launcher: str, **options: Any) -> None:
        start_cpu_processes(launcher, options)
        super()._setup_distributed(launcher, **options)

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> Any:
        """Build it, for a distiller by our constructor."""
        assert model is not None
        fitted = optim_wrapper_cfg(optim_wrapper, model, self.logger)
        return super().build_optim_wrapper(fitted, model)

    def build_param_scheduler(self, scheduler: Any, *args: Any, **options: Any) -> Any:
        """Build them; by optimiser, for each that a distiller has and no other."""
        if is_distiller(unwrap(self.model)):
            check_schedules(scheduler, self.optim_wrapper)
        return super().build_param_scheduler(scheduler, *args, **options)

    def save_checkpoint(
        self,
        filename: str,
        *,
        callback: Callable[[dict[str, Any]], None] | None = None,
        **options: Any,
    ) -> None:
        """Save a checkpoint, and the student's beside it, each whole or not at all."""
        path = Path(filename)
        part = path.with_name(files.beside(path.name))
        saved: dict[str, Any] = {}

        def keep(checkpoint: dict[str, Any]) -> None:
            if callback is not None:
                callback(checkpoint)
            saved.update(checkpoint)

        super().save_checkpoint(str(part), callback=keep, **options)
        if not is_main_process():
            return
        model = unwrap(self.model)
        if is_distiller(model):
            save_student(saved, model, path, self._student_cfg_text, self.logger)
        files.publish(part, path)

    def _student_cfg_text(self) -> str:
        if self._student_text is None:  # formatting a config takes seconds
            self._student_text = str(student_config(self.cfg).pretty_text)
        return self._student_text


class DistillSingleDeviceStrategy(_Distilling, SingleDeviceStrategy):
    """One process."""


class DistillDDPStrategy(_Distilling, DDPStrategy):
    """Whole copies of student, adapters and losses, on GPUs or CPUs."""

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        self.model_wrapper = wrapper_cfg(self.model_wrapper or {})
        wrapped: nn.Module = super()._wrap_model(model)
        return wrapped

    def model_state_dict(self) -> dict[str, Tensor]:
        """Of the model itself; the host's names begin with that of its wrapper."""
        state: dict[str, Tensor] = weights_to_cpu(unwrap(self.model).state_dict())
        return state


class DistillFSDPStrategy(_Distilling, FSDPStrategy):
    """Student, adapters and losses in shards, on GPUs or CPUs (gloo).

    The teacher is no module of the distiller's: each process has a whole one. Whole
    checkpoints are saved, by the first process.

    Args:
        state_dict_cfg: 'full', as other forms hold shards, of which no student's file
            can be made.
        skip_init_weights: False: the teacher would be made without weights, too.
        options: those of the host's ``FSDPStrategy``.

    Raises: ConfigError for other values.
    """

    def __init__(
        self,
        *,
        state_dict_cfg: str = 'full',
        skip_init_weights: bool = False,
        **options: Any,
    ) -> None:
        if state_dict_cfg != 'full':
            raise ConfigError(
                "strategy.state_dict_cfg must be 'full' for a distillation, got "
                f'{state_dict_cfg!r}: of shards no student_*.pth can be written.'
            )
        if skip_init_weights:
            raise ConfigError(
                'strategy.skip_init_weights must be False for a distillation: the '
                'teacher would be built without weights, too.'
            )
        super().__init__(state_dict_cfg=state_dict_cfg, **options)
        if get_device() == 'cpu':
            # Asked to move a state that is on the CPU already, torch does not copy it:
            # all momenta of a parameter would be saved as the last one gathered, and
            # (torch 2.4) its weights be read from memory that is free again.
            self.state_dict_config.offload_to_cpu = False
            self.optim_state_dict_config.offload_to_cpu = False

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        self.model_wrapper = {
            'type': 'MMFullyShardedDataParallel',
            **(self.model_wrapper or {}),
        }
        if get_device() == 'cpu':
            self.model_wrapper.setdefault('device_id', torch.device('cpu'))
        wrapped: nn.Module = super()._wrap_model(model)
        return wrapped

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take this process's shard of a whole state; torch has a new order for it."""
        shard = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model,
            optim=self.optim_wrapper.optimizer,
            optim_state_dict=state_dict,
        )
        self.optim_wrapper.load_state_dict(shard)

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> Any:
        """As of the others; clips by the norm over all shards.

        Raises: ConfigError for losses that train something by themselves.
        """
        assert model is not None
        built = super().build_optim_wrapper(optim_wrapper, model)
        if isinstance(built, OptimWrapperDict):
            names = ', '.join(name for name in built if name != 'student')
            raise ConfigError(
                'strategy: FSDPStrategy saves the state of one optimiser, and here '
                f'losses train something by themselves ({names}). Use '
                "strategy=dict(type='DDPStrategy')."
            )
        if built.clip_grad_kwargs and isinstance(model, FullyShardedDataParallel):
            built._clip_grad = ClipShards(built, model)
        return built


STRATEGIES: dict[str, type[_Distilling]] = {
    'SingleDeviceStrategy': DistillSingleDeviceStrategy,
    'DDPStrategy': DistillDDPStrategy,
    'FSDPStrategy': DistillFSDPStrategy,
}


def strategy_for(strategy: dict[str, Any] | None, launcher: str) -> dict[str, Any]:
    """A ``strategy`` of a config, by ours of the same name.

    Args:
        strategy: of the config; None: the host's default for the launcher.
        launcher: 'none' for one process.

    Raises: ConfigError for one that does not distill, or does not fit the launcher.
    """
    single = launcher == 'none'
    asked = dict(strategy or {'type': f'{"SingleDevice" if single else "DDP"}Strategy'})
    name = type_name(asked.get('type'))
    if name not in STRATEGIES:
        reason = _REASONS.get(name, 'nothing is known of what it makes of the model')
        raise ConfigError(
            f"strategy.type must be one of {', '.join(STRATEGIES)}, got '{name}': "
            f"{reason}. Use 'FSDPStrategy' to shard the student."
        )
    if single and name != 'SingleDeviceStrategy':
        raise ConfigError(
            f"strategy.type='{name}' needs several processes, and launcher is 'none'. "
            f'{_LAUNCH}'
        )
    asked['type'] = STRATEGIES[name]
    return asked
