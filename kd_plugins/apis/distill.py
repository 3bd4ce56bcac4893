"""From two configs and a checkpoint to a distilled student."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ..engine.hooks import GradientSharesHook
from ..evaluation.gradients import RunVerdict
from .closing import ClosingHook
from .distill_checks import check_folder, check_sources, check_teacher
from .distill_config import Sources, trial_config, write_config
from .price import Price, PriceHook
from .train import prepare_config, train


@dataclass(frozen=True)
class Distillation:
    """What came of it.

    Attributes:
        config: the config that was written.
        runner: of the run; of a dry run, stopped before its first iteration.
        price: what a step costs; None where it could not be measured.
        metrics: of the last validation, of student and teacher; empty for a dry run, or
            where they were not compared.
        verdict: on the pairs, by their shares of the gradient; None where none was
            measured, or in another process.
    """

    config: Path
    runner: Any
    price: Price | None
    metrics: dict[str, float] = field(default_factory=dict)
    verdict: RunVerdict | None = None


def distill(
    student: str,
    teacher: str,
    checkpoint: str,
    *,
    options: Mapping[str, Any] | None = None,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    launcher: str = 'none',
    local_rank: int = 0,
    dry_run: bool = False,
    teacher_score: bool = True,
) -> Distillation:
    """Distil any teacher into any student of the same kind, by ``pairs='auto'``.

    It writes the config that says so into the work folder, measures the price, trains,
    and compares the two.

    Args:
        student: its config, of the host's or a file; its data and schedule are used.
        teacher: its config.
        checkpoint: the teacher's; a file or a URL.
        options: ``--cfg-options``, of the distillation; they become part of the config.
        work_dir: where the run writes; default: ``work_dirs/<student>_from_<teacher>``.
        resume: as of :func:`~kd_plugins.apis.train`.
        amp: likewise.
        auto_scale_lr: likewise.
        launcher: as of :func:`~kd_plugins.apis.prepare_config`.
        local_rank: likewise.
        dry_run: whether to stop before the first iteration.
        teacher_score: whether to validate student and teacher together at the end.

    Raises: ConfigError and CheckpointError for what cannot be distilled, before
        anything is written.
    """
    sources = Sources.of(student, teacher, checkpoint)
    check_sources(sources)
    chosen = work_dir or (options or {}).get('work_dir')
    folder = Path(chosen or os.path.join('work_dirs', sources.name))
    check_folder(folder, sources, resume)
    notes = list(check_teacher(trial_config(sources, options)))
    config = write_config(sources, folder, options)
    cfg = prepare_config(
        config, work_dir=str(folder), launcher=launcher, local_rank=local_rank
    )
    price, closing = PriceHook(notes, dry_run), ClosingHook()
    hooks: list[Hook] = [price]
    if teacher_score and not dry_run:
        hooks.append(closing)
    runner = train(
        cfg, resume=resume, amp=amp, auto_scale_lr=auto_scale_lr, hooks=hooks
    )
    runner.logger.info(f'The config of this run is {config}.')
    verdicts = (
        hook.verdict for hook in runner.hooks if isinstance(hook, GradientSharesHook)
    )
    return Distillation(
        config, runner, price.price, closing.metrics, next(verdicts, None)
    )
