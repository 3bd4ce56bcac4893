"""A weight that changes at fixed steps."""

from bisect import bisect_right
from collections.abc import Sequence

from kd_plugins.checks import check_float
from kd_plugins.errors import ConfigError
from kd_plugins.registry import SCHEDULES
from kd_plugins.schedules._base import Schedule, check_step


@SCHEDULES.register_module()
class StepSchedule(Schedule):
    """One value after the other; each milestone is the first step of the next.

    Args:
        values: the weights, >= 0, one more than milestones.
        milestones: steps, increasing.
        by_epoch: whether the steps are epochs instead of iterations.

    Raises: ConfigError for invalid values.

    Example:
        >>> schedule = StepSchedule(values=[1, 0.5], milestones=[100])
        >>> schedule.value(99, last=None), schedule.value(100, last=None)
        (1.0, 0.5)
    """

    def __init__(
        self,
        values: Sequence[float],
        milestones: Sequence[int],
        by_epoch: bool = False,
    ) -> None:
        super().__init__(by_epoch)
        for name, given in (('values', values), ('milestones', milestones)):
            if not isinstance(given, (list, tuple)):
                raise ConfigError(f'{name} must be a list of numbers, got {given!r}.')
        self.values = [check_float(f'values[{i}]', v) for i, v in enumerate(values)]
        self.milestones = [
            check_step(f'milestones[{i}]', step) for i, step in enumerate(milestones)
        ]
        if len(self.values) != len(self.milestones) + 1:
            raise ConfigError(
                f'values must be one more than the {len(self.milestones)} milestones, '
                f'got {len(self.values)}.'
            )
        if sorted(set(self.milestones)) != self.milestones:
            raise ConfigError(f'milestones must increase, got {self.milestones}.')

    def value(self, step: int, last: int | None) -> float:
        """The weight at a step; ``last`` is unused."""
        return self.values[bisect_right(self.milestones, step)]

    def __repr__(self) -> str:
        values = ' -> '.join(f'{value:g}' for value in self.values)
        steps = ', '.join(str(step) for step in self.milestones)
        return f'{type(self).__name__}({values}, at {self.unit} {steps})'
