"""The clock of a training, and the base of the schedules."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from kd_plugins.checks import check_bool
from kd_plugins.errors import ConfigError


@dataclass(frozen=True)
class Clock:
    """The progress of a training.

    Args:
        iteration: number of finished iterations, over all epochs.
        epoch: number of finished epochs; unused in a loop of iterations.
        max_iterations: iterations of the whole training; None: unknown.
        max_epochs: epochs of the whole training; None in a loop of iterations.
        by_epoch: whether the loop counts epochs.
    """

    iteration: int
    epoch: int
    max_iterations: int | None
    max_epochs: int | None
    by_epoch: bool


class Schedule(ABC):
    """A weight over time: a function of the clock only, so it survives a resume.

    But for :class:`~kd_plugins.schedules.GradientShare`, whose state is saved.

    Args:
        by_epoch: whether its steps are epochs instead of iterations.
    """

    def __init__(self, by_epoch: bool = False) -> None:
        self.by_epoch = check_bool('by_epoch', by_epoch)

    @property
    def unit(self) -> str:
        """Name of its steps."""
        return 'epochs' if self.by_epoch else 'iterations'

    def __call__(self, clock: Clock) -> float:
        """The weight at this moment.

        Raises: ConfigError for a schedule of epochs in a loop of iterations.
        """
        if self.by_epoch and not clock.by_epoch:
            raise ConfigError(
                'the schedule counts epochs (by_epoch=True), this '
                'training loop counts iterations. Set by_epoch=False, and its steps '
                'in iterations.'
            )
        if self.by_epoch:
            return self.value(clock.epoch, clock.max_epochs)
        return self.value(clock.iteration, clock.max_iterations)

    @abstractmethod
    def value(self, step: int, last: int | None) -> float:
        """The weight at a step.

        Args:
            step: number of finished epochs or iterations.
            last: number of them in the whole training; None: unknown.
        """


def check_step(name: str, step: object) -> int:
    """The step, if it is a whole number >= 0.

    Raises: ConfigError otherwise.

    Example:
        >>> check_step('begin', 100)
        100
    """
    if isinstance(step, int) and not isinstance(step, bool) and step >= 0:
        return step
    raise ConfigError(f'{name} must be a whole number >= 0, got {step!r}.')
