"""Where the time of a training step goes, stage by stage."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from mmengine.optim import OptimWrapperDict

from ..distillers import Distiller
from ..distillers.auxiliary import STUDENT, auxiliary_of
from ..distillers.distiller import merge
from .stopwatch import Stopwatch

WHOLE, WITHIN = 'whole step', '- '
LOSSES, EXTRAS = 'adapters and distillation losses', "steps of the losses' own"
_FORWARD = 'student forward and losses'
_ROUNDS = 10


@dataclass
class Trainee:
    """A model with its optimiser and the batch it sees again and again."""

    model: Any
    optim_wrapper: Any
    batch: dict[str, Any]

    def step(self) -> None:
        """One training step, as the host's loop does it."""
        # The containers anew, as a preprocessor may fill them in; tensors as they are.
        self.model.train_step(copy.copy(self.batch), self.optim_wrapper)

    def timed_step(self, watch: Stopwatch) -> None:
        """The same step, spelled out so that each stage of it counts by itself."""
        model, wrapper = self.model, self.optim_wrapper
        if isinstance(wrapper, OptimWrapperDict):
            wrapper = wrapper[STUDENT]
        with watch.timing(WHOLE):
            with wrapper.optim_context(model):
                with watch.timing('preprocessing'):
                    data = model.data_preprocessor(copy.copy(self.batch), True)
                if isinstance(model, Distiller):
                    losses = _timed_losses(model, watch, **data)
                else:
                    with watch.timing(_FORWARD):
                        losses = model(**data, mode='loss')
            loss, _ = model.parse_losses(losses)
            with _watching_update(wrapper, watch):
                wrapper.update_params(loss)
            if wrapper is not self.optim_wrapper:
                with watch.timing(EXTRAS):
                    model.step_auxiliary(self.optim_wrapper)


def stages_of(alone: Trainee, distilling: Trainee) -> dict[str, tuple[float, float]]:
    """Median seconds of each stage: of the student alone, and of the distiller.

    The two take turns. The label of a stage within another begins with ``WITHIN``.
    """
    watches = (Stopwatch(), Stopwatch())
    with ExitStack() as stack:
        for watched in _watched(distilling):
            stack.enter_context(watches[1].watching(*watched))
        for _ in range(_ROUNDS):
            for trainee, stopwatch in zip((alone, distilling), watches, strict=True):
                stopwatch.next_round()
                trainee.timed_step(stopwatch)
    first, second = (stopwatch.medians() for stopwatch in watches)
    return {label: (first.get(label, 0.0), second[label]) for label in second}


def _timed_losses(
    model: Distiller, watch: Stopwatch, inputs: Any, data_samples: Any
) -> dict[str, Any]:
    """What ``Distiller.loss`` does, stage by stage."""
    with ExitStack() as stack:
        with watch.timing('teacher features'):
            step = stack.enter_context(model.step(inputs, data_samples))
        with watch.timing(_FORWARD):
            losses = model.task_losses(step)
        with model.random_stream.active():
            with watch.timing('matching, teacher heads in it'):
                matched = model.match(step)
            with watch.timing(LOSSES):
                return merge(
                    losses,
                    *(
                        pair.losses(step, matched.get(pair.name))
                        for pair in model.pairs
                    ),
                )


@contextmanager
def _watching_update(wrapper: Any, watch: Stopwatch) -> Iterator[None]:
    """Count the two halves of the host's update by themselves."""
    with (
        watch.watching(wrapper, 'backward', 'backward'),
        watch.watching(wrapper, 'step', 'optimiser step'),
    ):
        yield


def _watched(trainee: Trainee) -> list[tuple[Any, ...]]:
    """Methods of the hosts and of losses that count as parts of a stage."""
    distiller: Distiller = trainee.model
    watched: list[tuple[Any, ...]] = []
    for teacher in distiller.teachers.values():
        for part, method in (
            ('rpn_head', 'forward'),
            ('roi_head', '_bbox_forward'),
            ('bbox_head', 'forward'),
            ('decode_head', 'forward'),
        ):
            head = getattr(teacher.model, part, None)
            if head is not None and hasattr(head, method):
                watched.append((head, method, f'{WITHIN}teacher heads'))
    for key, (_, name, auxiliary) in auxiliary_of(distiller.losses).items():
        part = f'{WITHIN}{name}:'
        wrapper = trainee.optim_wrapper[key]
        watched += [
            (auxiliary.module, 'forward', f'{part} forward, for the student', LOSSES),
            (wrapper, 'backward', f'{part} backward'),
            (wrapper, 'step', f'{part} optimiser step'),
        ]
        if inspect.ismethod(auxiliary.loss):
            owner, called = auxiliary.loss.__self__, auxiliary.loss.__name__
            watched.append((owner, called, f'{part} its own loss', EXTRAS))
    return watched
