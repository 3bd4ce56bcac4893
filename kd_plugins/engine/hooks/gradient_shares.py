"""How strongly each pair pulls at the student, while it is trained."""

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner

from ...checks import check_int
from ...distillers import Distiller
from ...distillers.interface import unwrap
from ...distillers.pair import statistic_name
from ...errors import ConfigError
from ...evaluation.gradients import gradient_shares
from ...registry import HOOKS


@HOOKS.register_module()
class GradientSharesHook(Hook):
    """Logs ``kd_share/<pair>``: a pair's gradient over the task's, at the student.

    As :func:`~kd_plugins.evaluation.gradients.gradient_shares` measures it, just before
    a step and on its batch, in the precision of the training; of several processes each
    measures its own batch, and the first one's is logged. The training does not notice:
    its weights are those of a run without the hook. In between, the host's logs repeat
    the last one.

    Args:
        interval: iterations from one to the next, >= 1. Each takes a forward pass, and
            a backward pass for the task and for every pair.

    Raises: ConfigError for an interval that cannot be, and for a model that is no
        distiller.
    """

    # After the clock of the weights, and whatever else a step is prepared by.
    priority = 'LOW'

    def __init__(self, interval: int = 500) -> None:
        if check_int('interval', interval) is None:
            raise ConfigError('interval must be a whole number >= 1, got None.')
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        if not isinstance(model, Distiller):
            raise ConfigError(
                'GradientSharesHook needs a model of type kd_plugins.Distiller, got '
                f'{type(model).__name__}. Remove the hook from custom_hooks.'
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        if not self.every_n_train_iters(runner, self.interval):
            return
        model = unwrap(runner.model)
        assert isinstance(model, Distiller)
        shares = gradient_shares(model, data_batch, optim_wrapper=runner.optim_wrapper)
        verdicts = []
        for name in shares.pairs:
            share = shares.share(name)
            key = f'train/kd_share/{statistic_name(name)}'
            runner.message_hub.update_scalar(key, share)
            verdicts.append(f'{name} {share:.3g} ({shares.verdict(name)})')
        runner.logger.info(f"Shares of the task's gradient: {', '.join(verdicts)}")
