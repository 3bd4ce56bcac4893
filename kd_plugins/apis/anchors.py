"""How hard the checkpoints of a route are for a student: ``tools/next_anchor.py``."""

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config

from ..checks import check_float, check_int
from ..distillers import Distiller
from ..distillers.pair import Pair
from ..errors import ConfigError, nearest
from ..random_stream import random_state_kept
from ..schedules import Clock
from ..tables import table_lines
from ..teachers import Route, greedy_anchor
from .analyze import instead_of_training


@dataclass(frozen=True)
class Hardness:
    """What a student's loss is under each checkpoint of a route.

    Attributes:
        checkpoints: of the route, in order.
        losses: of the pair at weight 1, means over the batches.
        current: number of the checkpoint that taught the student last.
        threshold: largest ratio to the current one's loss.
    """

    checkpoints: tuple[str, ...]
    losses: tuple[float, ...]
    current: int
    threshold: float

    @property
    def next(self) -> int:
        """Number of the checkpoint to be taught by next."""
        return greedy_anchor(self.losses, self.current, self.threshold)

    def __str__(self) -> str:
        rows = [
            (
                str(number),
                path,
                f'{loss:.4g}',
                f'{loss / self.losses[self.current]:.2f}',
                {self.current: 'current', self.next: 'next'}.get(number, ''),
            )
            for number, (path, loss) in enumerate(
                zip(self.checkpoints, self.losses, strict=True)
            )
        ]
        header = ('number', 'checkpoint', 'loss', 'ratio', '')
        return '\n'.join(table_lines(header, rows, 'plain'))


def measure_route(
    cfg: Config,
    checkpoint: str,
    *,
    current: int,
    threshold: float,
    pair: str | None = None,
    batches: int = 10,
    work_dir: str | None = None,
) -> Hardness:
    """A student's loss under each checkpoint of its teacher's route.

    On the first batches of its training, the same for each checkpoint.

    Args:
        cfg: of a distillation whose teacher is a ``Route``, from ``prepare_config``; it
            is changed.
        checkpoint: of the student, or of a training of this config.
        current: number of the checkpoint that taught it last, from 0.
        threshold: of :func:`~kd_plugins.teachers.greedy_anchor`.
        pair: whose loss; default: the first that a route teaches.
        batches: how many, >= 1.
        work_dir: for the host's files; default: a temporary folder.

    Raises: ConfigError if no pair is taught by a route, and for numbers that mean
        nothing; CheckpointError for a checkpoint that does not fit.
    """
    check_int('--batches', batches)
    check_int('--current', current, minimum=0)
    check_float('--threshold', threshold, minimum=1.0, strict=True)
    found: list[Hardness] = []

    def measure(runner: Any, model: Distiller) -> None:
        chosen, route = _route_of(model, pair)
        if current >= len(route.anchors):
            raise ConfigError(
                f'--current must be 0 to {len(route.anchors) - 1}: the route has '
                f'{len(route.anchors)} checkpoints, got {current}.'
            )
        losses = torch.zeros(len(route.anchors))
        for batch in islice(runner.train_loop.dataloader, batches):
            losses += _losses(model, chosen, route, batch)
        found.append(
            Hardness(
                tuple(anchor.checkpoint for anchor in route.anchors),
                tuple((losses / batches).tolist()),
                current,
                threshold,
            )
        )

    with ExitStack() as stack:
        cfg.work_dir = work_dir or stack.enter_context(
            TemporaryDirectory(prefix='route_', ignore_cleanup_errors=True)
        )
        instead_of_training(cfg, measure, checkpoint)
    return found[0]


def _route_of(model: Distiller, name: str | None) -> tuple[Pair, Route]:
    routes = {
        pair.name: (pair, teacher)
        for pair in model.pairs
        for teacher in [model.teachers[each] for each in pair.views][:1]
        if isinstance(teacher, Route)
    }
    if not routes or name not in {None, *routes}:
        raise ConfigError(
            "no pair is taught by a teacher of type='Route'."
            if not routes
            else f"no pair '{name}' is taught by a route. {nearest(str(name), routes)}",
            key='model.pairs',
        )
    return routes[next(iter(routes)) if name is None else name]


def _losses(
    model: Distiller, pair: Pair, route: Route, batch: dict[str, Any]
) -> torch.Tensor:
    """Of one batch under each anchor; what is drawn is the same for all."""
    data = model.data_preprocessor(batch, True)
    inputs, samples = data['inputs'], data['data_samples']
    values = []
    for anchor in route.anchors:
        # Whatever the training's own clock: this anchor's time.
        model.set_clock(Clock(anchor.begin, anchor.begin, None, None, route.by_epoch))
        with (
            random_state_kept(),
            torch.no_grad(),
            model.step(inputs, samples, pairs=[pair.name], exact=True) as step,
        ):
            model.task_losses(step)
            matched = model.match(step)[pair.name]
            values.append(pair.trial(step, matched).cpu())
    return torch.stack(values)
