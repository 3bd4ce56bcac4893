"""Trains a balanced pair in two processes over gloo, each on images of its own.

    python -m tests.engine.hooks.two_balanced FOLDER

Leaves ``weights_<rank>.pth``: the shares that each process measured by itself, and the
weights that both went on with.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

import kd_plugins  # noqa: F401
from kd_plugins.distillers.interface import unwrap
from kd_plugins.evaluation.gradients import gradient_shares
from tests.distillers.runs import run_config
from tests.distillers.tiny import config
from tests.distillers.two_processes import _apart, _fork

from .test_gradient_shares_balanced import OURS, balance, pairs


@HOOKS.register_module()
class SaveWeightsHook(Hook):
    """Measures by itself, just before the balance does."""

    priority = 'BELOW_NORMAL'

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.measured: list[float] = []
        self.weights: list[float] = []

    def before_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        shares = gradient_shares(unwrap(runner.model), options['data_batch'])
        self.measured.append(shares.pairs['hint'].norms['backbone'])

    def after_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        if runner.iter in (0, 1, 2, 4):
            weight = unwrap(runner.model).losses['hint'].loss_weight
            self.weights.append(weight)

    def after_train(self, runner: Any) -> None:
        torch.save(
            {'measured': self.measured, 'weights': self.weights},
            self.folder / f'weights_{get_rank()}.pth',
        )


def main(folder: Path) -> None:
    """One run."""
    torch.set_num_threads(1)
    hook = dict(type='SaveWeightsHook', folder=str(folder))
    _fork(
        folder,
        'balanced',
        lambda: _apart(
            run_config(
                config(pairs(hint=balance())),
                folder / 'run',
                custom_hooks=[hook],
                **OURS,
            )
        ),
    )


if __name__ == '__main__':
    main(Path(sys.argv[1]))
