"""The gradients of a distillation's first batches, for ``tools/analyze.py``."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config

from ..checkpoints import read_checkpoint
from ..checks import check_float, check_int
from ..distillers import Distiller
from ..distillers.interface import unwrap
from ..distillers.loading import load_any
from ..distillers.peers import check_no_peers
from ..engine.stages import last_stage
from ..errors import ConfigError
from ..evaluation.gradients.balance import (
    STATES,
    balance_weights,
    balanced,
    load_states,
)
from ..evaluation.gradients.gradients import gradient_shares
from ..evaluation.gradients.shares import GradientShares, median_shares
from ..evaluation.gradients.table import shares_table
from .train import build_runner

_CHECKPOINT = '--checkpoint'
_VALIDATION = ('val_dataloader', 'val_cfg', 'val_evaluator')


def analyze(
    cfg: Config,
    *,
    share: float = 0.5,
    batches: int = 1,
    checkpoint: str | None = None,
    work_dir: str | None = None,
) -> GradientShares:
    """Measure gradient shares on the first batches of a training, and log a table.

    The weights are those at the start of the training, or a checkpoint's; they do not
    change. It computes in float32, whatever the precision of the training.

    Args:
        cfg: of a distillation, from ``prepare_config``; it is changed.
        share: of a pair's gradient in the task's, > 0; the table suggests weights for
            it.
        batches: number of batches, for medians, >= 1.
        checkpoint: of a training of this config, at whose iteration the weight
            schedules are evaluated; or of the student alone, from any training.
        work_dir: for the host's files; default: a temporary folder.

    Raises: ConfigError if ``cfg`` is no distillation; CheckpointError for a checkpoint
        that does not fit.
    """
    cfg = last_stage(cfg)
    check_no_peers(cfg.model, 'tools/analyze.py')
    check_float('--share', share, strict=True)
    check_int('--batches', batches)
    measured: list[GradientShares] = []

    def measure(runner: Any, model: Distiller) -> None:
        measured.extend(
            gradient_shares(model, batch)
            for batch in islice(runner.train_loop.dataloader, batches)
        )

    with ExitStack() as stack:
        cfg.work_dir = work_dir or stack.enter_context(
            TemporaryDirectory(prefix='analyze_', ignore_cleanup_errors=True)
        )
        runner = instead_of_training(cfg, measure, checkpoint)
        shares = median_shares(measured)
        model = unwrap(runner.model)
        assert isinstance(model, Distiller)
        if model.clock is not None:
            # A GradientShare that would be measured now is shown at its weight.
            shares = balance_weights(model.pairs, shares, model.clock)
        text = f'Gradients at iteration {runner.iter}:\n{shares_table(shares, share)}'
        # Logged at any `log_level`, which is the level of the handlers.
        levels = [handler.level for handler in runner.logger.handlers]
        runner.logger.log(max(logging.INFO, *levels), text)
    return shares


def instead_of_training(
    cfg: Config,
    measure: Callable[[Any, Distiller], None],
    checkpoint: str | None = None,
) -> Any:
    """Build a run, and call a function where its training would begin.

    Args:
        cfg: of a distillation, with its ``work_dir``; it is changed.
        measure: takes the runner, and its model in training mode.
        checkpoint: whose weights the model has, and at whose iteration it stands.

    Returns: the runner.
    Raises: as of :func:`analyze`.
    """
    cfg.merge_from_dict({**dict.fromkeys(_VALIDATION), 'resume': False})
    if checkpoint is not None:
        cfg.load_from = checkpoint
    runner = build_runner(cfg)
    model = unwrap(runner.model)
    if not isinstance(model, Distiller):
        raise ConfigError(
            "model.type: there are no pairs to analyze in a model of type '"
            f"{type(model).__name__}', expected 'kd_plugins.Distiller'."
        )
    loop = runner.train_loop

    def run() -> None:
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        model.train()
        measure(runner, model)

    # Replaces the training, on this loop only.
    loop.run = run
    if checkpoint is not None:
        runner.load_checkpoint = lambda path, *args, **options: _load(model, loop, path)
    runner.train()
    return runner


def _load(model: Distiller, loop: Any, path: str) -> None:
    meta = load_any(model, path, _CHECKPOINT)
    if meta is not None:
        loop._iter, loop._epoch = meta.get('iter', 0), meta.get('epoch', 0)
        if balanced(model.pairs):
            load_states(model.pairs, read_checkpoint(path).get(STATES, {}))
