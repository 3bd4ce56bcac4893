"""Mixed precision with and without a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from ..config_files import type_name
from ..errors import ConfigError
from ..registry import OPTIM_WRAPPERS

_HOST = 'AmpOptimWrapper'
_HOST_ONLY = ('loss_scale', 'use_fsdp')  # of its gradient scaler, which a CPU lacks


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Automatic mixed precision on the CPU: bfloat16, which needs no loss scaling.

    The host's ``AmpOptimWrapper`` asserts a GPU. Its ``dtype`` is understood here, and
    anything but bfloat16 is refused.

    Args:
        dtype: 'bfloat16', or None for the same.
        options: those of the host's ``OptimWrapper``.
    """

    def __init__(self, dtype: str | torch.dtype | None = None, **options: Any) -> None:
        if dtype not in (None, 'bfloat16', torch.bfloat16):
            raise ConfigError(
                f"optim_wrapper.dtype must be 'bfloat16' on a CPU, got '{dtype}'."
            )
        super().__init__(**options)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward pass in bfloat16, within the host's own context."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def enable_amp(cfg: Any) -> None:
    """Turn on mixed precision in a training config, for the device at hand.

    Args:
        cfg: the whole config, with an ``optim_wrapper``; changed in place.

    Raises: ConfigError if its ``optim_wrapper`` is of a type that has no such form.
    """
    optim_wrapper = cfg['optim_wrapper']
    kind = optim_wrapper.get('type', 'OptimWrapper')
    if type_name(kind) not in ('OptimWrapper', _HOST):
        raise ConfigError(
            "--amp needs optim_wrapper.type 'OptimWrapper', got "
            f"'{type_name(kind)}'. Remove --amp, or the type."
        )
    optim_wrapper['type'] = _HOST
    optim_wrapper.setdefault('loss_scale', 'dynamic')
    cfg['optim_wrapper'] = amp_for_device(optim_wrapper)


def amp_for_device(optim_wrapper: dict[str, Any]) -> dict[str, Any]:
    """The host's mixed precision where it runs; ours in its place on a CPU."""
    if type_name(optim_wrapper.get('type')) != _HOST or get_device() != 'cpu':
        return optim_wrapper
    fitted = optim_wrapper.copy()
    for option in _HOST_ONLY:
        fitted.pop(option, None)
    fitted['type'] = 'kd_plugins.BFloat16OptimWrapper'
    return fitted
