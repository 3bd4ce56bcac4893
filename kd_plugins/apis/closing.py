"""Student beside teacher, once, when a distillation ends."""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..engine.hooks import FidelityHook
from ..errors import LocatedError
from .recorded import METRICS

_TEACHER = 'teacher/'
_RATHER = ('mean', 'mAP', 'mIoU', 'rmse', 'acc')  # where no header's metric is there


class ClosingHook(Hook):
    """Validates student and teacher after the last iteration, and says what came out.

    One pass over the validation data, both models on each image; nothing is saved. The
    weights of the student are those that the host validates, EMA's included.

    Attributes:
        metrics: of this validation, as the host and
            :class:`~kd_plugins.engine.hooks.FidelityHook` name them; empty where there
            was none.
    """

    # After the hooks that save the last checkpoint.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self._begun = False

    def after_train(self, runner: Runner) -> None:
        if self._begun:  # a hook registered meanwhile has the runner come by again
            return
        self._begun = True
        if runner.val_loop is None:
            runner.logger.info(
                'Student and teacher are not compared: the config has no validation.'
            )
            return
        if not any(isinstance(hook, FidelityHook) for hook in runner.hooks):
            runner.register_hook(FidelityHook())
        runner.logger.info('Student and teacher on the validation data:')
        try:
            self.metrics = dict(runner.val_loop.run() or {})
        except LocatedError as error:
            runner.logger.warning(f'They cannot be compared: {error}')
            return
        for sentence in comparison(self.metrics):
            runner.logger.info(sentence)


def comparison(metrics: Mapping[str, Any]) -> list[str]:
    """What a validation with fidelity says, in sentences.

    Args:
        metrics: of the validation.

    Example:
        >>> comparison({'mIoU': 41.2, 'teacher/mIoU': 56.0, 'fidelity/agreement': 0.8})
        ['On the validation data the student scores 41.200, its teacher 56.000 (mIoU).',
        'They agree on 80 % of the pixels.']
    """
    sentences = []
    name = _main_metric(metrics)
    if name is not None:
        teacher = metrics.get(_TEACHER + name)
        beside = '' if teacher is None else f', its teacher {teacher:.3f}'
        sentences.append(
            f'On the validation data the student scores {metrics[name]:.3f}{beside} '
            f'({name}).'
        )
    agreement = metrics.get('fidelity/agreement')
    if agreement is not None:
        recall = metrics.get('fidelity/recall')
        on = 'the pixels' if recall is None else 'the objects that both find'
        found = (
            ''
            if recall is None
            else f'; the student finds {100 * recall:.0f} % of what its teacher finds'
        )
        sentences.append(f'They agree on {100 * agreement:.0f} % of {on}{found}.')
    return sentences


def _main_metric(metrics: Mapping[str, Any]) -> str | None:
    """The metric that headers and papers give, or the nearest to it."""
    own = [name for name in metrics if not name.startswith((_TEACHER, 'fidelity/'))]
    known = [name for name, _ in METRICS.values() if name in own]
    rather = [name for end in _RATHER for name in own if name.endswith(end)]
    return next(iter([*known, *rather]), None)
