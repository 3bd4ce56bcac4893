"""Where the time of a training step goes, stage by stage."""

import copy
import inspect
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from mmengine.optim import OptimWrapperDict

from ..distillers.auxiliary import STUDENT, auxiliary_of
from ..distillers.interface import is_distiller
from .stopwatch import Stopwatch

WHOLE, WITHIN = 'whole step', '- '
LOSSES, EXTRAS = 'adapters and distillation losses', "steps of the losses' own"
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


def stages_of(alone: Trainee, distilling: Trainee) -> dict[str, tuple[float, float]]:
    """Median seconds of each stage: of the student alone, and of the distiller.

    The two take turns. The label of a stage within another begins with ``WITHIN``.
    """
    watches = (Stopwatch(), Stopwatch())
    with ExitStack() as stack:
        for trainee, stopwatch in zip((alone, distilling), watches, strict=True):
            for watched in _watched(trainee):
                stack.enter_context(stopwatch.watching(*watched))
        for _ in range(_ROUNDS):
            for trainee, stopwatch in zip((alone, distilling), watches, strict=True):
                stopwatch.next_round()
                with stopwatch.timing(WHOLE):
                    trainee.step()
    first, second = (stopwatch.medians() for stopwatch in watches)
    return {label: (first.get(label, 0.0), second[label]) for label in second}


def _watched(trainee: Trainee) -> list[tuple[Any, ...]]:
    """Methods to watch, as ``Stopwatch.watching`` takes them."""
    model, wrapper = trainee.model, trainee.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        wrapper = wrapper[STUDENT]
    watched: list[tuple[Any, ...]] = [
        (model.data_preprocessor, 'forward', 'preprocessing'),
        (wrapper, 'backward', 'backward'),
        (wrapper, 'step', 'optimiser step'),
    ]
    if not is_distiller(model):
        return [*watched, (model, 'loss', 'student forward and losses')]
    distiller: Any = model
    watched.append((distiller.student, 'loss', 'student forward and losses'))
    guidance = distiller._guidance
    for name, teacher in guidance.teachers.items():
        if guidance.parts_of(name) == ['backbone']:
            watched.append((teacher.model.backbone, 'forward', 'teacher features'))
        else:
            watched.append((teacher.model, 'extract_feat', 'teacher features'))
        for part, method in (
            ('rpn_head', 'forward'),
            ('roi_head', '_bbox_forward'),
            ('bbox_head', 'forward'),
            ('decode_head', 'forward'),
        ):
            head = getattr(teacher.model, part, None)
            if head is not None and hasattr(head, method):
                watched.append((head, method, f'{WITHIN}teacher heads'))
    for pair in guidance.pairs:
        watched.append((pair.view, 'match', 'matching, teacher heads in it'))
        watched.append((pair, 'compute', LOSSES))
    watched.append((guidance, '_check_teachers', 'check of the teacher for NaN'))
    return watched + _watched_extras(distiller, trainee.optim_wrapper)


def _watched_extras(distiller: Any, optim_wrapper: Any) -> list[tuple[Any, ...]]:
    """What a loss trains by itself: in the student's step, and in its own."""
    watched: list[tuple[Any, ...]] = []
    for key, (_, name, extra) in auxiliary_of(distiller.losses).items():
        part = f'{WITHIN}{name}:'
        watched += [
            (extra.module, 'forward', f'{part} forward, for the student', LOSSES),
            (optim_wrapper[key], 'backward', f'{part} backward'),
            (optim_wrapper[key], 'step', f'{part} optimiser step'),
        ]
        if inspect.ismethod(extra.loss):
            method = extra.loss
            watched.append(
                (method.__self__, method.__name__, f'{part} its own loss', EXTRAS)
            )
    if watched:
        watched.append((distiller, 'step_auxiliary', EXTRAS))
    return watched
