"""How strongly each pair pulls at the student while it is trained, and what follows."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from ...checks import check_bool, check_optional_int
from ...distillers import Distiller
from ...distillers.interface import is_distiller, unwrap
from ...errors import ConfigError
from ...evaluation.gradients import (
    GradientShares,
    PairAlarms,
    RunVerdict,
    ShareMeasurement,
    append_measurement,
    gradient_shares,
    measurement_of,
    read_shares,
    run_verdict,
)
from ...evaluation.gradients.alarms import alarm_moments
from ...evaluation.gradients.balance import (
    STATES,
    balance_weights,
    balanced,
    due,
    load_states,
    mean_over_ranks,
    states_of,
)
from ...evaluation.gradients.measurements import FILE
from ...evaluation.gradients.shares import DEAD, NOT_FINITE, OFF
from ...registry import HOOKS
from ..memory import has_room_for_copy


@HOOKS.register_module()
class GradientSharesHook(Hook):
    """Measures gradient shares, balances weights by them, warns, and gives a verdict.

    ``DistillRunner`` registers one for every distillation. It measures as
    :func:`~kd_plugins.evaluation.gradients.gradient_shares` does, just before a step
    and on its batch, in the precision of the training; of several processes, the mean
    counts. The training does not notice: without a ``GradientShare`` its weights are
    those of a run without the hook. A measurement takes memory for a second student.

    - **When**: as the ``GradientShare`` schedules of the pairs ask; in a run without
      one, at a few moments that take 1 % of it (``alarms``); and at every ``interval``.
    - **Weights** with a ``GradientShare`` follow. They are saved in checkpoints, and a
      resumed run goes on with them.
    - **Logs**: ``kd_share/<pair>``, and ``kd_weight/<pair>`` of balanced ones; in
      between, the host's logs repeat the last one. Rank 0 also writes
      ``<work_dir>/<timestamp>/gradient_shares.jsonl``, see
      :class:`~kd_plugins.evaluation.gradients.ShareMeasurement` for its lines and
      :func:`~kd_plugins.evaluation.gradients.read_shares` for a reader.
    - **Alarms**: warnings of
      :class:`~kd_plugins.evaluation.gradients.PairAlarms`, each once.
    - **At the end** of the log, a verdict on each pair and a sentence on the whole.

    Args:
        interval: further measurements, at every so many iterations; None for none. Each
            takes a forward pass, and a backward pass for the task and for every pair.
        alarms: whether to warn, and to measure for it.

    Attributes:
        verdict: on the run, after it; None without a measurement.

    Raises: ConfigError for arguments that cannot be, for a model that is no distiller,
        and for a GradientShare where nothing can be measured.
    """

    # After the clock of the weights, and whatever else a step is prepared by.
    priority = 'LOW'

    def __init__(self, interval: int | None = None, alarms: bool = True) -> None:
        self.interval = check_optional_int('interval', interval)
        self.alarms = check_bool('alarms', alarms)
        self.verdict: RunVerdict | None = None
        self._pair_alarms = PairAlarms()
        self._measured: list[ShareMeasurement] = []
        self._moments: frozenset[int] = frozenset()
        self._started = 0
        self._peak = 0

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        if not is_distiller(model):
            raise ConfigError(
                'GradientSharesHook needs a model of type kd_plugins.Distiller, got '
                f'{type(model).__name__}. Remove the hook from custom_hooks.'
            )
        if not isinstance(model, Distiller):
            if self.interval is not None:
                raise ConfigError(
                    'shares of one student are measured, and in a '
                    f'{type(model).__name__} several learn. Remove interval.',
                    key='GradientSharesHook.interval',
                )
            return
        self._started = runner.iter
        if not _is_whole(runner):
            self._refuse_shards(runner, model)
            return
        if model.clock is not None:
            due(model.pairs, model.clock)  # only to refuse one that begins too late
        if self.alarms and not balanced(model.pairs):
            self._moments = alarm_moments(runner.max_iters, len(model.pairs))
        if self._started and is_main_process():
            self._measured = [
                each
                for each in read_shares(runner.work_dir)
                if each.iteration < self._started
            ]

    def _refuse_shards(self, runner: Runner, model: Distiller) -> None:
        shards = f'a whole student is measured, and {type(runner.model).__name__} may '
        shards += 'shard it.'
        for pair in model.pairs:
            if pair.name in balanced(model.pairs):
                raise ConfigError(
                    f'{shards} Give a number, or another schedule.',
                    key=f'{pair.key}.loss.loss_weight',
                )
        if self.interval is not None:
            raise ConfigError(
                f'{shards} Remove interval.', key='GradientSharesHook.interval'
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        model = unwrap(runner.model)
        if not isinstance(model, Distiller) or not _is_whole(runner):
            return
        asked = model.clock is not None and bool(due(model.pairs, model.clock))
        if self.interval is not None:
            asked = asked or self.every_n_train_iters(runner, self.interval)
        if asked or runner.iter in self._moments:
            shares = self._measure(runner, model, data_batch, asked)
            if shares is not None:
                self._report(runner, model, shares)

    def _measure(
        self, runner: Runner, model: Distiller, data: DATA_BATCH, asked: bool
    ) -> GradientShares | None:
        """Shares at the balanced weights; None where only alarms need what fails."""
        try:
            if not asked and not has_room_for_copy(model, self._peak):
                raise ConfigError('the GPU has no room for a copy of the student.')
            shares = gradient_shares(model, data, optim_wrapper=runner.optim_wrapper)
        except ConfigError as error:
            if asked:
                raise
            self._moments = frozenset()
            runner.logger.warning(f'Pairs are trained without alarms: {error}')
            return None
        shares = mean_over_ranks(shares, next(model.parameters()).device)
        if model.clock is None:  # a runner of the host's: no weight has a schedule
            return shares
        return balance_weights(model.pairs, shares, model.clock)

    def _report(self, runner: Runner, model: Distiller, shares: GradientShares) -> None:
        kept = balanced(model.pairs)
        texts = []
        for pair in model.pairs:
            share = shares.share(pair.name)
            scalars = {f'train/kd_share/{pair.statistic}': share}
            text = shares.verdict(pair.name)
            if pair.name in kept:
                weight = shares.pairs[pair.name].weight
                scalars[f'train/kd_weight/{pair.statistic}'] = weight
                # A large share is no fault where it is wanted.
                if text not in (DEAD, NOT_FINITE, OFF):
                    text = f'{kept[pair.name].share:g} wanted'
                text += f', weight {weight:.3g}'
            for key, value in scalars.items():
                runner.message_hub.update_scalar(key, value)
            texts.append(f'{pair.name} {share:.3g} ({text})')
        runner.logger.info(f"Shares of the task's gradient: {', '.join(texts)}")
        measurement = measurement_of(
            shares,
            started=self._started,
            iteration=runner.iter,
            max_iterations=runner.max_iters,
            wanted={name: schedule.share for name, schedule in kept.items()},
        )
        if not is_main_process():
            return
        self._measured.append(measurement)
        try:
            append_measurement(Path(runner.log_dir) / FILE, measurement)
        except OSError as error:  # the training goes on
            runner.logger.warning(f'{FILE} was not written: {error}')
        if self.alarms:
            for warning in self._pair_alarms.observe_shares(measurement):
                runner.logger.warning(warning)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        model = unwrap(runner.model)
        if not self.alarms or not isinstance(model, Distiller):
            return
        if self._moments and torch.cuda.is_available():
            self._peak = max(self._peak, torch.cuda.max_memory_allocated())
        if not is_main_process() or outputs is None:
            return
        for pair in model.pairs:
            values = [outputs[key].item() for key in pair.log_keys() if key in outputs]
            if values:
                warning = self._pair_alarms.observe_loss(
                    pair.name, pair.key, pair.loss.loss_weight, sum(values)
                )
                if warning is not None:
                    runner.logger.warning(warning)

    def after_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        if not isinstance(model, Distiller):
            return
        self.verdict = run_verdict(
            self._measured,
            weights={pair.name: pair.loss.loss_weight for pair in model.pairs},
            always_zero=self._pair_alarms.always_zero,
        )
        if self.verdict is not None:
            runner.logger.info(
                'Verdict on the pairs, by the medians of '
                f"{self.verdict.measurements} measurements of the task's gradient:\n"
                f'{self.verdict}'
            )

    def before_save_checkpoint(
        self, runner: Runner, checkpoint: dict[str, Any]
    ) -> None:
        model = unwrap(runner.model)
        if isinstance(model, Distiller) and balanced(model.pairs):
            checkpoint[STATES] = states_of(model.pairs)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        model = unwrap(runner.model)
        if runner._resume and isinstance(model, Distiller):
            load_states(model.pairs, checkpoint.get(STATES, {}))


def _is_whole(runner: Runner) -> bool:
    """Whether each process has the whole student."""
    model = runner.model
    return not is_model_wrapper(model) or isinstance(model, DistributedDataParallel)
