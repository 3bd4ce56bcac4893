"""Times of functions in turn, and of blocks and methods within them."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def time_in_turn(
    parts: Mapping[str, Callable[[], Any]], *, steps: int, warmup: int
) -> dict[str, list[float]]:
    """Seconds of each part; the parts take turns: A B C A B C ...

    A temporary load of the machine then affects all parts.

    Args:
        parts: functions by name.
        steps: number of timed rounds, >= 1.
        warmup: rounds before them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for step in range(warmup + steps):
        for name, function in parts.items():
            synchronise()
            start = time.perf_counter()
            function()
            synchronise()
            if step >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


class Stopwatch:
    """Adds up the seconds of timed blocks and methods, round by round.

    Labels are in the order of their first start: parts come after the whole.
    """

    def __init__(self) -> None:
        self._rounds: list[dict[str, float]] = []
        self._running: list[str] = []

    def next_round(self) -> None:
        """Begin a new round."""
        self._rounds.append({})

    def medians(self) -> dict[str, float]:
        """Median over the rounds, by label."""
        labels = dict.fromkeys(label for times in self._rounds for label in times)
        return {
            label: statistics.median(times.get(label, 0.0) for times in self._rounds)
            for label in labels
        }

    @contextmanager
    def timing(self, label: str) -> Iterator[None]:
        """Time the block under a label."""
        current = self._rounds[-1]
        current.setdefault(label, 0.0)
        self._running.append(label)
        synchronise()
        start = time.perf_counter()
        try:
            yield
        finally:
            synchronise()
            current[label] += time.perf_counter() - start
            self._running.pop()

    @contextmanager
    def timing_method(
        self, instance: object, name: str, label: str, within: str | None = None
    ) -> Iterator[None]:
        """Time a method of one instance while the block runs.

        Args:
            instance: owner of the method.
            name: of the method.
            label: of the times.
            within: only calls while this label runs are timed; None: all.
        """
        method = getattr(instance, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if within is not None and within not in self._running:
                return method(*args, **kwargs)
            with self.timing(label):
                return method(*args, **kwargs)

        instance.__dict__[name] = timed
        try:
            yield
        finally:
            del instance.__dict__[name]
