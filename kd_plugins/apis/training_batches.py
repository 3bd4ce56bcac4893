"""Look at a model on the batches that it is trained on, without training it."""

from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config

from ..teachers import without_pretrained
from .train import build_runner

_VALIDATION = ('val_dataloader', 'val_cfg', 'val_evaluator')


def on_training_batches(cfg: Config, work: Callable[[Any], None], seed: int) -> None:
    """Call a function where the training would begin: data made, hooks ready.

    Nothing is validated, or written but into a temporary folder.

    Args:
        cfg: of a model alone; changed.
        work: is given the runner, whose ``train_loop.dataloader`` has the batches.
        seed: of the batches.
    """
    cfg.model = without_pretrained(cfg.model)
    cfg.merge_from_dict({**dict.fromkeys(_VALIDATION), 'resume': False})
    cfg.load_from, cfg.launcher = None, 'none'
    cfg.randomness = {**cfg.get('randomness', {}), 'seed': seed}
    with ExitStack() as stack:
        cfg.work_dir = stack.enter_context(
            TemporaryDirectory(prefix='kd_plugins_', ignore_cleanup_errors=True)
        )
        runner = build_runner(cfg)
        loop = runner.train_loop

        def run() -> None:
            runner.call_hook('before_train')
            runner.call_hook('before_train_epoch')
            work(runner)

        # Replaces the training, on this loop only.
        loop.run = run
        runner.train()
