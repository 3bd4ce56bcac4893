"""Trains in two processes over gloo, with shares at every iteration and without.

    python -m tests.evaluation.gradients.two_processes FOLDER

Of different images and random streams. Leaves ``<run>_<rank>.pth``: what each process
ended with.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

import kd_plugins  # noqa: F401
from tests.distillers.runs import run_config
from tests.distillers.tiny import all_pairs, config
from tests.distillers.two_processes import _apart, _fork

HOOK = dict(type='kd_plugins.GradientSharesHook', interval=1)


def _run(work_dir: Path, hooks: list[Any]) -> Config:
    cfg = run_config(
        config(all_pairs()),
        work_dir,
        **dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')),
        train_cfg=dict(by_epoch=False, max_iters=2),
        runner_type='kd_plugins.DistillRunner',
        custom_hooks=hooks,
    )
    return _apart(cfg)


def main(folder: Path) -> None:
    """The two runs, one after the other."""
    torch.set_num_threads(1)
    _fork(folder, 'with', lambda: _run(folder / 'with', [HOOK]))
    _fork(folder, 'without', lambda: _run(folder / 'without', []))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
