"""The distiller knows how far the training has come."""

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...distillers.interface import is_distiller, unwrap
from ...errors import ConfigError
from ...registry import HOOKS
from ...schedules import Clock


@HOOKS.register_module()
class ClockHook(Hook):
    """Sets the clock of the distiller's weight schedules before every iteration.

    The host's message hub would not do: the current one is the last *created*, and in
    an iteration loop its epoch stays 0.
    """

    def before_train(self, runner: Runner) -> None:
        _set_clock(runner)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        _set_clock(runner)


def _set_clock(runner: Runner) -> None:
    model = unwrap(runner.model)
    if not is_distiller(model):
        raise ConfigError(
            'ClockHook needs a model of type kd_plugins.Distiller, got '
            f'{type(model).__name__}. Remove the hook from custom_hooks.'
        )
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    clock = Clock(
        iteration=runner.iter,
        epoch=runner.epoch,
        max_iterations=runner.max_iters,
        # The host gives iteration loops one epoch, "for compatibility".
        max_epochs=runner.max_epochs if by_epoch else None,
        by_epoch=by_epoch,
    )
    model.set_clock(clock)
