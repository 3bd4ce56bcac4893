"""From a command line to a host's runner: what ``tools/train.py`` is made of."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS

from ..config_files import read_config
from ..engine.amp import enable_amp
from ..engine.flexible import DistillFlexibleRunner, check_runner
from ..engine.overrides import apply_overrides
from ..engine.runner import DistillRunner
from ..engine.stages import give_options, has_stages, train_stages
from ..errors import ConfigError
from .closing import closing_block
from .prune import run_action


def prepare_config(
    path: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
    local_rank: int = 0,
) -> Config:
    """Read a config and merge what the command line says.

    Args:
        path: of the config.
        options: ``--cfg-options``; of a config with stages, they hold for each.
        work_dir: where the run writes; default the config's, or
            ``work_dirs/<name of the config>``.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        local_rank: as ``torch.distributed.launch`` passes it.

    Raises: ConfigError if an option names nothing.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg = read_config(path)
    if has_stages(cfg):
        give_options(cfg, options or {})
    else:
        apply_overrides(cfg, options)
    cfg.launcher = launcher
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(str(path)).stem)
    return cfg


def build_runner(cfg: Config) -> Any:
    """The runner that the config names, by default ours, which runs any config.

    Raises: ConfigError for the host's FlexibleRunner with a distillation.
    """
    if 'runner_type' in cfg:
        check_runner(cfg)
        return RUNNERS.build(cfg)
    return DistillRunner.from_cfg(cfg)


def train(
    cfg: Config,
    *,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    hooks: Sequence[Hook] = (),
) -> Any:
    """Train, and of a distillation say what it came to, and where the student is.

    Args:
        cfg: as :func:`prepare_config` gives it; with ``stages``, all of them are
            trained, see :func:`~kd_plugins.engine.stages.train_stages`.
        resume: a checkpoint to continue from, or 'auto': the newest whole one in
            ``work_dir``, if there is one; of stages, the one that was interrupted.
        amp: mixed precision, on a CPU by bfloat16.
        auto_scale_lr: scale the learning rate with the batch size.
        hooks: to register beside the config's; not with stages.

    Returns: the runner; that of the last stage.
    """

    def prepare(cfg: Config) -> None:
        if amp:
            enable_amp(cfg)
        if auto_scale_lr:
            _scale_lr(cfg)

    if not has_stages(cfg):
        prepare(cfg)
        return _train(cfg, resume, hooks)
    if hooks:
        raise ConfigError(
            'train() takes no hooks for a config with stages: each stage needs its '
            "own. Name them in the stages' configs: custom_hooks=[...]."
        )
    return train_stages(cfg, _train, act=run_action, resume=resume, prepare=prepare)


def _train(cfg: Config, resume: str | None, hooks: Sequence[Hook] = ()) -> Any:
    if resume == 'auto':
        cfg.resume = 'auto'
    elif resume is not None:
        cfg.resume, cfg.load_from = True, resume
    if cfg.get('resume') == 'auto' and not _is_ours(cfg):
        cfg.resume, cfg.load_from = True, None  # as the host's runner understands it
    runner = build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    block = closing_block(runner)
    if block is not None:
        runner.logger.info(block)
    return runner


def _scale_lr(cfg: Config) -> None:
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ConfigError(
            "--auto-scale-lr needs to know the batch size that the config's learning "
            'rate is for. Add to the config: auto_scale_lr=dict(base_batch_size=...).'
        )
    cfg.auto_scale_lr['enable'] = True


def _is_ours(cfg: Config) -> bool:
    kind = cfg.get('runner_type', DistillRunner)
    kind = RUNNERS.get(kind) if isinstance(kind, str) else kind
    ours = (DistillRunner, DistillFlexibleRunner)
    return isinstance(kind, type) and issubclass(kind, ours)
