"""Every run starts by saying what it will compare."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...distillers.interface import is_distiller, unwrap
from ...registry import HOOKS


@HOOKS.register_module()
class SummaryHook(Hook):
    """Logs the distiller's summary, a table, before the training starts."""

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        if is_distiller(model):
            runner.logger.info(f'Distillation:\n{model.summary()}')
