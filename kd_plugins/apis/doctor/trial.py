"""Shares of gradients and the price of a step, measured where a run would begin."""

import copy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...evaluation.gradients import (
    RunVerdict,
    gradient_shares,
    measurement_of,
    median_shares,
    run_verdict,
)
from ...teachers import model_config, without_pretrained
from ..analyze import instead_of_training
from ..copies import UncopiableError
from ..price import Price, measure_price


@dataclass(frozen=True)
class Trial:
    """What was measured.

    Attributes:
        verdict: on the shares of gradients, at the weights of the checkpoint.
        batches: whose medians they are.
        price: of a step; None if it could not be measured.
        no_price: why not.
    """

    verdict: RunVerdict
    batches: int
    price: Price | None
    no_price: str = ''


def run_trial(cfg: Config, checkpoint: str, folder: Path, batches: int) -> Trial:
    """Build the run, and measure on its first batches; nothing is trained.

    Args:
        cfg: of the distillation.
        checkpoint: whose weights are measured.
        folder: for the host's files.
        batches: for the shares.
    """
    cfg = copy.deepcopy(cfg)
    cfg.work_dir, cfg.log_level = str(folder / 'trial'), 'WARNING'
    # The weights are those of the checkpoint: none is to be downloaded before.
    cfg.model.student = without_pretrained(model_config(cfg.model.student))
    measured: list[Trial] = []

    def measure(runner: Any, model: Any) -> None:
        shares = median_shares(
            [
                gradient_shares(model, batch)
                for batch in islice(runner.train_loop.dataloader, batches)
            ]
        )
        price, reason = None, ''
        try:
            price = measure_price(runner)
        except UncopiableError as error:
            reason = str(error)
        measurement = measurement_of(
            shares, started=0, iteration=runner.iter, max_iterations=runner.max_iters
        )
        verdict = run_verdict([measurement])
        assert verdict is not None
        measured.append(Trial(verdict, shares.batches, price, reason))

    instead_of_training(cfg, measure, checkpoint)
    return measured[0]
