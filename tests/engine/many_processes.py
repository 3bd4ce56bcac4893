"""Trains in two processes over gloo: what large trainings switch on, one at a time.

    python -m tests.engine.many_processes FOLDER

A detector, one image a process. Leaves ``<run>_<rank>.pth``: its whole weights.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch.distributed.fsdp import FullyShardedDataParallel

import kd_plugins  # noqa: F401
from tests.distillers.split import split_config
from tests.distillers.two_processes import _fork
from tests.engine.hooks.toy import build, toy_config

LAYERS = ['backbone.layer2', 'student.neck']
OPTIMIZER = dict(type='SGD', lr=0.02, momentum=0.9)
FLEXIBLE = dict(runner_type='kd_plugins.DistillFlexibleRunner')


def accumulated(folder: Path, batch_size: int) -> Config:
    """Two steps of two batches each."""
    wrapper = dict(type='OptimWrapper', optimizer=OPTIMIZER, accumulative_counts=2)
    return _changed(
        split_config(folder, batch_size),
        optim_wrapper=wrapper,
        train_cfg=dict(by_epoch=False, max_iters=4),
    )


def mixed(folder: Path, batch_size: int) -> Config:
    """In bfloat16."""
    wrapper = dict(type='AmpOptimWrapper', optimizer=OPTIMIZER, dtype='bfloat16')
    return _changed(split_config(folder, batch_size), optim_wrapper=wrapper)


def with_cp(folder: Path, batch_size: int) -> Config:
    """Blocks that the host checkpoints."""
    cfg = split_config(folder, batch_size)
    cfg.model.student.backbone.with_cp = True
    return cfg


def clipped(folder: Path, batch_size: int) -> Config:
    """By the norm of all gradients, those of adapters apart."""
    wrapper = dict(
        type='OptimWrapper',
        optimizer=OPTIMIZER,
        clip_grad=dict(max_norm=0.05),
        adapter_cfg=dict(clip_grad=dict(max_norm=0.02, norm_type=1)),
    )
    return _changed(split_config(folder, batch_size), optim_wrapper=wrapper)


RUNS: dict[str, Callable[[Path, int], Config]] = {
    'plain': split_config,
    'accumulated': accumulated,
    'clipped': clipped,
    'clipped_fsdp': lambda folder, batch_size: _changed(
        clipped(folder, batch_size), strategy=dict(type='FSDPStrategy'), **FLEXIBLE
    ),
    'mixed': mixed,
    'layers': lambda folder, batch_size: _changed(
        split_config(folder, batch_size), activation_checkpointing=LAYERS
    ),
    'with_cp': with_cp,
    'ddp': lambda folder, batch_size: _changed(
        split_config(folder, batch_size), strategy=dict(type='DDPStrategy'), **FLEXIBLE
    ),
    'fsdp': lambda folder, batch_size: _changed(
        split_config(folder, batch_size), strategy=dict(type='FSDPStrategy'), **FLEXIBLE
    ),
    'nested': lambda folder, batch_size: _changed(
        split_config(folder, batch_size),
        strategy=dict(type='FSDPStrategy', model_wrapper=NESTED),
        **FLEXIBLE,
    ),
}
# Every part of 1000 weights and more is gathered by itself, when it runs.
NESTED = dict(
    auto_wrap_policy=dict(
        type='torch.distributed.fsdp.wrap.size_based_auto_wrap_policy',
        min_num_params=1000,
    )
)


def sharded_toy(folder: Path, resume: bool = False) -> Config:
    """Ten iterations in shards, each process with a random stream of its own."""
    return toy_config(
        folder,
        strategy=dict(type='FSDPStrategy'),
        randomness=dict(seed=5, diff_rank_seed=True),
        resume=resume,
        **FLEXIBLE,
    )


def _changed(cfg: Config, **changes: Any) -> Config:
    for key, value in changes.items():
        cfg[key] = value
    return cfg


def train(cfg: Config, path: Path) -> None:
    """Train, and save what the model holds then."""
    cfg.launcher = 'pytorch'
    runner = build(cfg)
    runner.train()
    teachers = getattr(runner.model.module, 'teachers', {})
    result = {
        'state': runner.model.state_dict(),
        'wrapper': type(runner.model).__name__,
        'units': sum(
            isinstance(module, FullyShardedDataParallel)
            for module in runner.model.modules()
        ),
        'shard': sum(each.numel() for each in runner.model.parameters()),
        'teacher': {
            name: each.clone()
            for teacher in teachers.values()
            for name, each in teacher.model.state_dict().items()
        },
    }
    torch.save(result, path)


def main(folder: Path, *names: str) -> None:
    """The runs, one after the other."""
    torch.set_num_threads(1)
    for name, make_cfg in RUNS.items():
        if names and name not in names:
            continue
        _fork(folder, name, lambda: make_cfg(folder / name, 1), train)  # noqa: B023
    if names:
        return
    _fork(folder, 'whole', lambda: sharded_toy(folder / 'whole'), train)
    _fork(folder, 'resumed', lambda: sharded_toy(folder / 'resumed'), train)
    for path in (folder / 'resumed').glob('*_10.pth'):
        path.unlink()  # as if it had been stopped
    _fork(folder, 'resumed', lambda: sharded_toy(folder / 'resumed', True), train)


if __name__ == '__main__':
    main(Path(sys.argv[1]), *sys.argv[2:])
