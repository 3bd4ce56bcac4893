"""Weights that move from one value to another: on a line, or on half a cosine."""

import math
from abc import abstractmethod

from kd_plugins.checks import check_float
from kd_plugins.errors import ConfigError
from kd_plugins.registry import SCHEDULES
from kd_plugins.schedules._base import Schedule, check_step


class Ramp(Schedule):
    """From ``start`` to ``end``, constant before ``begin`` and from ``until`` on.

    Args:
        start: weight up to step ``begin``, >= 0.
        end: weight from step ``until`` on, >= 0.
        begin: first step of the ramp.
        until: last step of the ramp; default: the end of the training.
        by_epoch: whether the steps are epochs instead of iterations.

    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        start: float,
        end: float,
        begin: int = 0,
        until: int | None = None,
        by_epoch: bool = False,
    ) -> None:
        super().__init__(by_epoch)
        self.start = check_float('start', start)
        self.end = check_float('end', end)
        self.begin = check_step('begin', begin)
        self.until = None if until is None else check_step('until', until)
        if self.until is not None and self.until <= self.begin:
            raise ConfigError(
                f'until must be later than begin ({self.begin}), got {self.until}.'
            )

    def value(self, step: int, last: int | None) -> float:
        """The weight at a step.

        Raises: ConfigError if the end of the ramp is unknown, or before its beginning.
        """
        until = last if self.until is None else self.until
        if until is None:
            raise ConfigError(
                f'the length of the training in {self.unit} is not known. Set until.'
            )
        if until <= self.begin:
            raise ConfigError(
                f'begin is {self.begin}, the training ends after '
                f'{until} {self.unit}. Set an earlier begin.'
            )
        progress = min(max((step - self.begin) / (until - self.begin), 0.0), 1.0)
        share = self.share(progress)
        return (1 - share) * self.start + share * self.end

    @abstractmethod
    def share(self, progress: float) -> float:
        """The share of ``end`` at this progress, both from 0 to 1."""

    def __repr__(self) -> str:
        until = 'end' if self.until is None else self.until
        return (
            f'{type(self).__name__}({self.start:g} -> {self.end:g}, '
            f'{self.unit} {self.begin} to {until})'
        )


@SCHEDULES.register_module()
class LinearRamp(Ramp):
    """A :class:`Ramp` on a straight line.

    Example:
        >>> LinearRamp(start=0, end=1, until=1000).value(250, last=None)
        0.25
    """

    def share(self, progress: float) -> float:
        """The progress itself."""
        return progress


@SCHEDULES.register_module()
class CosineRamp(Ramp):
    """A :class:`Ramp` on half a cosine: slow at both ends.

    Example:
        >>> ramp = CosineRamp(start=0, end=1, until=1000)
        >>> round(ramp.value(250, last=None), 6)
        0.146447
    """

    def share(self, progress: float) -> float:
        """Half a cosine, from 0 to 1."""
        return (1 - math.cos(math.pi * progress)) / 2
