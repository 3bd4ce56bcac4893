"""What the teachers say of a batch, and the losses of all pairs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from ..errors import ConfigError
from ..schedules import Clock
from ..teachers import Teacher
from ..views import MatchedTensors, ModelRun, Recorder, Step, attached
from ..views.run import reach_of
from .health import TeacherHealth
from .pair import Pair

AllMatched = dict[str, list[MatchedTensors | None]]


class Guidance:
    """Runs teachers as far as the pairs need them, and compares.

    Args:
        pairs: bound to their models.
        teachers: by name.
    """

    def __init__(self, pairs: Sequence[Pair], teachers: Mapping[str, Teacher]) -> None:
        self.pairs = list(pairs)
        self.teachers = dict(teachers)
        self._health = TeacherHealth()

    def pairs_of(self, teacher: str) -> list[Pair]:
        """The pairs that ask this teacher."""
        return [pair for pair in self.pairs if pair.teacher == teacher]

    def parts_of(self, teacher: str) -> list[str]:
        """Parts of a teacher that run, in the order of its model."""
        pairs = self.pairs_of(teacher)
        wanted = {'backbone', *self._beyond_backbone(pairs)} if pairs else ()
        children = self.teachers[teacher].model.named_children()
        return [name for name, _ in children if name in wanted]

    @staticmethod
    def _beyond_backbone(pairs: Sequence[Pair]) -> set[str]:
        return {part for pair in pairs for part in pair.view.teacher_parts()}

    def student_recorders(self) -> list[Recorder]:
        """What to attach to the student while it computes its own losses."""
        return [
            capture for pair in self.pairs for capture in pair.view.student_recorders()
        ]

    @contextmanager
    def runs(
        self, inputs: Tensor, data_samples: Any, preprocessor: Any
    ) -> Iterator[dict[str, ModelRun]]:
        """Features of every teacher that is asked; within, more of it may be run.

        Args:
            inputs: preprocessed for the student.
            data_samples: of the batch.
            preprocessor: the student's.
        """
        with ExitStack() as stack:
            runs = {}
            for name, teacher in self.teachers.items():
                pairs = self.pairs_of(name)
                if not pairs:
                    continue
                model = teacher.prepare(inputs.device)
                own, unpadded = teacher.inputs(inputs, data_samples)
                captures = [
                    capture
                    for pair in pairs
                    for capture in pair.view.teacher_recorders()
                ]
                captured = stack.enter_context(attached(model, captures))
                reach = reach_of(self._beyond_backbone(pairs))
                runs[name] = ModelRun(
                    model, own, captured, reach, unpadded, teacher.scale
                )
            yield runs

    def losses(
        self,
        student: nn.Module,
        adapters: Mapping[str, Sequence[nn.Module]],
        captured: dict[Recorder, Any],
        runs: Mapping[str, ModelRun],
        data_samples: Any,
        clock: Clock | None,
        inputs: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses of all pairs, by log key.

        Args:
            student: the student model.
            adapters: by pair.
            captured: from the student, by capture.
            runs: of the teachers, by name.
            data_samples: of the batch.
            clock: how far training is; None where nobody tells.
            inputs: images, as the student sees them.
        """
        steps = {
            name: Step(student, captured, run, data_samples)
            for name, run in runs.items()
        }
        matched = {pair.name: pair.match(steps[pair.teacher]) for pair in self.pairs}
        self._check_teachers(matched)
        device = next(student.parameters()).device
        factors = averaged_counts(matched, device)
        iteration = None if clock is None else clock.iteration
        losses: dict[str, Tensor] = {}
        for pair in self.pairs:
            pair.set_weight(clock)
            name = pair.name
            own = list(adapters[name]) if name in adapters else []
            losses.update(
                pair.compute(
                    matched[name],
                    own,
                    factors[name],
                    device,
                    data_samples,
                    inputs,
                    iteration,
                )
            )
        return losses

    def _check_teachers(self, matched: AllMatched) -> None:
        self._health.check(
            {
                f'{pair.where} ({place.name})': item.teacher
                for pair in self.pairs
                for place, item in zip(pair.places, matched[pair.name], strict=True)
                if item is not None
            }
        )


def with_added(own: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """The student's losses and those of the pairs.

    Raises: ConfigError for a key of both.
    """
    for key in added:
        if key in own:
            raise ConfigError(
                f"model.pairs: the student has a loss '{key}' of its own. Rename the "
                'pair that would be logged so.'
            )
    return {**own, **added}


def averaged_counts(
    matched: AllMatched, device: torch.device
) -> dict[str, list[Tensor | float]]:
    """Counts of every pair averaged over the ranks, in one message for all of them.

    Args:
        matched: tensors of each level or stage, by pair; None counts 0.
        device: where the ranks exchange them.
    """
    counts: dict[str, list[Tensor | float]] = {
        name: [0.0 if item is None else item.count for item in items]
        for name, items in matched.items()
    }
    flat = [count for items in counts.values() for count in items]
    if get_world_size() == 1 or not flat:
        return counts
    # The numbers in one copy, from pinned memory: nobody waits for the device.
    numbers = torch.tensor(
        [0.0 if isinstance(count, Tensor) else float(count) for count in flat],
        pin_memory=device.type == 'cuda',
    )
    stacked = numbers.to(device, non_blocking=True)
    for index, count in enumerate(flat):
        if isinstance(count, Tensor):
            stacked[index] = count.detach()
    all_reduce(stacked, op='mean')
    averaged = iter(stacked)
    return {name: [next(averaged) for _ in items] for name, items in counts.items()}
