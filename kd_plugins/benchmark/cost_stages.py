"""Times of a training step, stage by stage."""

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
LOSSES, AUXILIARY = 'adapters and distillation losses', "steps of the losses' own"
_FORWARD = 'student forward and losses'
_ROUNDS = 10


@dataclass
class Trainee:
    """A model with its optimiser and a batch that it trains on repeatedly."""

    model: Any
    optim_wrapper: Any
    batch: dict[str, Any]

    def step(self) -> None:
        """One training step, as in the host's loop."""
        # A copy of the containers, which a preprocessor may change; the same tensors.
        self.model.train_step(copy.copy(self.batch), self.optim_wrapper)

    def timed_step(self, stopwatch: Stopwatch) -> None:
        """The same step, with each stage timed."""
        model, wrapper = self.model, self.optim_wrapper
        if isinstance(wrapper, OptimWrapperDict):
            wrapper = wrapper[STUDENT]
        with stopwatch.timing(WHOLE):
            with wrapper.optim_context(model):
                with stopwatch.timing('preprocessing'):
                    data = model.data_preprocessor(copy.copy(self.batch), True)
                if isinstance(model, Distiller):
                    losses = _timed_losses(model, stopwatch, **data)
                else:
                    with stopwatch.timing(_FORWARD):
                        losses = model(**data, mode='loss')
            loss, _ = model.parse_losses(losses)
            with _timing_update(wrapper, stopwatch):
                wrapper.update_params(loss)
            if wrapper is not self.optim_wrapper:
                with stopwatch.timing(AUXILIARY):
                    model.step_auxiliary(self.optim_wrapper)


def stages_of(alone: Trainee, distilling: Trainee) -> dict[str, tuple[float, float]]:
    """Median seconds of each stage: of the student alone, and of the distiller.

    The two take turns. The label of a stage within another one begins with ``WITHIN``.
    """
    stopwatches = (Stopwatch(), Stopwatch())
    with ExitStack() as stack:
        for method in _timed_methods(distilling):
            stack.enter_context(stopwatches[1].timing_method(*method))
        for _ in range(_ROUNDS):
            for trainee, stopwatch in zip(
                (alone, distilling), stopwatches, strict=True
            ):
                stopwatch.next_round()
                trainee.timed_step(stopwatch)
    first, second = (stopwatch.medians() for stopwatch in stopwatches)
    return {label: (first.get(label, 0.0), second[label]) for label in second}


def _timed_losses(
    model: Distiller, stopwatch: Stopwatch, inputs: Any, data_samples: Any
) -> dict[str, Any]:
    """The work of ``Distiller.loss``, stage by stage."""
    with ExitStack() as stack:
        with stopwatch.timing('teacher features'):
            step = stack.enter_context(model.step(inputs, data_samples))
        with stopwatch.timing(_FORWARD):
            losses = model.task_losses(step)
        with model.random_stream.active():
            with stopwatch.timing('matching, teacher heads in it'):
                matched = model.match(step)
            with stopwatch.timing(LOSSES):
                return merge(
                    losses,
                    *(
                        pair.losses(step, matched.get(pair.name))
                        for pair in model.pairs
                    ),
                )


@contextmanager
def _timing_update(wrapper: Any, stopwatch: Stopwatch) -> Iterator[None]:
    """Time the two parts of the host's update."""
    with (
        stopwatch.timing_method(wrapper, 'backward', 'backward'),
        stopwatch.timing_method(wrapper, 'step', 'optimiser step'),
    ):
        yield


def _timed_methods(trainee: Trainee) -> list[tuple[Any, ...]]:
    """Methods of the hosts and of losses that are parts of a stage."""
    distiller: Distiller = trainee.model
    methods: list[tuple[Any, ...]] = []
    for teacher in distiller.teachers.values():
        for part, method in (
            ('rpn_head', 'forward'),
            ('roi_head', '_bbox_forward'),
            ('bbox_head', 'forward'),
            ('decode_head', 'forward'),
        ):
            head = getattr(teacher.running(), part, None)
            if head is not None and hasattr(head, method):
                methods.append((head, method, f'{WITHIN}teacher heads'))
    for key, (_, name, auxiliary) in auxiliary_of(distiller.losses).items():
        part = f'{WITHIN}{name}:'
        wrapper = trainee.optim_wrapper[key]
        methods += [
            (auxiliary.module, 'forward', f'{part} forward, for the student', LOSSES),
            (wrapper, 'backward', f'{part} backward'),
            (wrapper, 'step', f'{part} optimiser step'),
        ]
        if inspect.ismethod(auxiliary.loss):
            owner, called = auxiliary.loss.__self__, auxiliary.loss.__name__
            methods.append((owner, called, f'{part} its own loss', AUXILIARY))
    return methods
