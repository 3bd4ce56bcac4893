"""What our runners put in place of the host's: optimiser, wrapper, hooks, files."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from torch import nn

from ..config_files import type_name
from ..distillers.interface import DistillerLike, is_distiller, unwrap
from ..distillers.student import student_checkpoint
from ..errors import ConfigError
from ..registry import MODELS
from . import files
from .amp import amp_for_device
from .hooks import (
    AtomicCheckpointHook,
    ClassNamesHook,
    ClockHook,
    FastTeacherHook,
    GradientSharesHook,
    RandomStateHook,
    SummaryHook,
)
from .optimizer import DistillOptimWrapperConstructor
from .wrapper import DistillDistributedDataParallel

_CONSTRUCTOR = DistillOptimWrapperConstructor.__name__
_WRAPPER = f'kd_plugins.{DistillDistributedDataParallel.__name__}'
_HOST_WRAPPER = 'MMDistributedDataParallel'
_MESSAGE_LENGTH = 300  # of an error; one of the host's quotes the whole config


def check_single(cfg: Mapping[str, Any]) -> None:
    """Refuse a config of several trainings, of which a runner would run one.

    Raises: ConfigError.
    """
    if cfg.get('stages'):
        names = ', '.join(cfg['stages'])
        raise ConfigError(
            f'these trainings ({names}) run one after the other by tools/train.py of '
            'kd_plugins, not by a runner, nor by the tools of the hosts. Start it with '
            "that one; 'python -m pip show -f kd_plugins' says where it lies.",
            'stages',
        )


def is_distiller_type(kind: Any) -> bool:
    """Whether ``model.type`` of a config is a distiller's."""
    return is_distiller(MODELS.get(kind) if isinstance(kind, str) else kind)


def wrapper_cfg(cfg: dict[str, Any]) -> dict[str, Any]:
    """A ``model_wrapper_cfg`` with our wrapper where it names none or the host's."""
    kind = cfg.get('type')
    if kind is None or type_name(kind) == _HOST_WRAPPER:
        return {**cfg, 'type': _WRAPPER}
    return cfg


def optim_wrapper_cfg(optim_wrapper: Any, model: nn.Module, logger: MMLogger) -> Any:
    """An ``optim_wrapper`` for the device at hand; a distiller's by our constructor.

    Args:
        optim_wrapper: of the config; anything but a dict of one optimiser stays.
        model: that is trained, wrapped or not.
        logger: is told which constructor serves whom.
    """
    if not (
        isinstance(optim_wrapper, dict)
        and isinstance(optim_wrapper.get('optimizer'), dict)
    ):
        return optim_wrapper
    optim_wrapper = amp_for_device(optim_wrapper)
    configured = optim_wrapper.get('constructor')
    named = 'the default' if configured is None else type_name(configured)
    if is_distiller(unwrap(model)) and named != _CONSTRUCTOR:
        optim_wrapper = optim_wrapper.copy()
        optim_wrapper['constructor'] = f'kd_plugins.{_CONSTRUCTOR}'
        optim_wrapper['student_constructor'] = configured
        logger.info(
            f'The student is optimised by {named}; adapters and losses, where they '
            f'learn, apart: {_CONSTRUCTOR}.'
        )
    return optim_wrapper


def with_atomic_checkpoints(hook: Hook | dict[str, Any]) -> Hook | dict[str, Any]:
    """Our checkpoint hook in place of the host's, same arguments; others stay."""
    if isinstance(hook, dict) and _is_host_checkpoint_hook(hook['type']):
        return {**hook, 'type': AtomicCheckpointHook}
    return hook


def missing_hooks(registered: list[Hook], distills: bool) -> list[Hook]:
    """Hooks that every run has, or every distillation, and that a config left out."""
    wanted: list[type[Hook]] = [RandomStateHook]  # the last of the lowest priority
    if distills:
        wanted += [ClassNamesHook, ClockHook, FastTeacherHook]
        wanted += [GradientSharesHook, SummaryHook]
    return [
        kind()
        for kind in wanted
        if not any(isinstance(hook, kind) for hook in registered)
    ]


def newest_checkpoint(hooks: list[Hook], work_dir: str) -> str | None:
    """The newest whole checkpoint of a run; all processes take what the first found."""
    paths: list[str | None] = [None]
    if is_main_process():
        for hook in hooks:
            if isinstance(hook, AtomicCheckpointHook):
                folder = Path(hook.folder(work_dir))
                newest = files.newest_checkpoint(folder, hook.filename_tmpl)
                paths = [None if newest is None else str(newest)]
    broadcast_object_list(paths)
    return paths[0]


def save_student(
    checkpoint: dict[str, Any],
    model: DistillerLike,
    path: Path,
    text: Callable[[], str],
    logger: MMLogger,
) -> None:
    """Write the student's own checkpoint beside one of the training.

    Where that fails, a warning says why, and the training goes on.

    Args:
        checkpoint: of the training, as it is saved.
        model: the distiller.
        path: of the training checkpoint.
        text: gives the student's own config.
        logger: of the run.
    """
    out = Path(files.student_file(str(path)))
    try:
        # Over the one that is there: the host saves a step again after its validation,
        # and a process that is killed then leaves both files.
        files.save(student_checkpoint(checkpoint, model, text()), out)
    except Exception as error:  # whatever it is
        with suppress(OSError):  # the training goes on
            out.unlink(missing_ok=True)  # of an earlier run
        message = f'{type(error).__name__}: {error}'
        logger.warning(
            f"The student's own checkpoint beside {path} was not written: "
            f'{message[:_MESSAGE_LENGTH]}'
        )


def _is_host_checkpoint_hook(kind: Any) -> bool:
    if type_name(kind) != CheckpointHook.__name__:
        return False
    return (
        MMENGINE_HOOKS.get(kind) if isinstance(kind, str) else kind
    ) is CheckpointHook
