"""What pairs compare, as maps of whole images, of both models as they predict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..distillers import Distiller
from ..distillers.guidance import Guidance
from ..distillers.pair import Pair, adapt
from ..errors import ConfigError, nearest
from ..losses import LossContext
from ..views import ModelRun, attached
from ..views.run import frozen

PROBABILITY, VALUE, MAGNITUDE = 'highest probability', 'value', 'mean |activation|'


@dataclass(frozen=True)
class PairMap:
    """Maps of one level, (N A, C, H, W): of A anchors at a point of N images.

    Attributes:
        pair: name of the pair.
        level: such as 'neck[0]'.
        context: what losses are told of it.
        teacher: of the teacher.
        student: of the student, channels and size its own.
        adapted: the same after the pair's adapter, where it has one.
    """

    pair: str
    level: str
    context: LossContext
    teacher: Tensor
    student: Tensor
    adapted: Tensor | None

    @property
    def quantity(self) -> str:
        """What :meth:`heat` gives."""
        if self.context.activation is not None:
            return PROBABILITY
        return VALUE if self.teacher.shape[1] == 1 else MAGNITUDE

    def heat(self, value: Tensor) -> Tensor:
        """One number a cell, (H, W), float32 on the CPU.

        Of logits the probability of the likeliest class, background left out; of
        features the mean magnitude of the channels; of a single channel its value.

        Args:
            value: one of the maps, of a single image.
        """
        value = value.detach().float()
        activation, background = self.context.activation, self.context.background
        if activation is not None:
            probs = value.sigmoid() if activation == 'sigmoid' else value.softmax(1)
            kept = [one for one in range(probs.shape[1]) if one != background]
            return probs[:, kept].amax(dim=(0, 1)).cpu()
        return (value if value.shape[1] == 1 else value.abs()).mean(dim=(0, 1)).cpu()


def choose_pairs(distiller: Distiller, names: Sequence[str] | None) -> list[Pair]:
    """Pairs of these names; all of them for None.

    Raises: ConfigError for a name that is no pair's.
    """
    pairs = {pair.name: pair for pair in distiller._guidance.pairs}
    for name in names or ():
        if name not in pairs:
            raise ConfigError(f"pairs: there is no '{name}'. {nearest(name, pairs)}")
    return [pairs[name] for name in (pairs if names is None else names)]


def pair_maps(
    distiller: Distiller, pairs: Sequence[Pair], inputs: Tensor, data_samples: Any
) -> list[PairMap]:
    """What pairs compare, with both models in ``eval()`` and without gradient.

    Args:
        distiller: itself, not what distributes it; it does not change.
        pairs: of it. Those that compare rows, of RoIs or sampled edges, have no maps.
        inputs: (N, 3, H, W), preprocessed for the student.
        data_samples: of these images; they need no annotations.
    """
    guidance, student = Guidance(pairs, distiller.teachers), distiller.student
    preprocessor = distiller.data_preprocessor
    found: list[PairMap] = []
    with (
        frozen(distiller),
        guidance.runs(inputs, data_samples, preprocessor) as runs,
        attached(student, guidance.student_recorders()) as captured,
    ):
        run = ModelRun(student, inputs, captured, 'heads')
        for pair in pairs:
            found.extend(_maps_of(pair, distiller, run, runs[pair.teacher]))
    return found


def _maps_of(
    pair: Pair, distiller: Distiller, run: ModelRun, teacher_run: ModelRun
) -> Iterator[PairMap]:
    own = pair.view.maps(run, 'student')
    other = pair.view.maps(teacher_run, 'teacher')
    by_level = len(own) == len(pair.places)
    adapters: Any = distiller.adapters
    for number, (student, teacher) in enumerate(zip(own, other, strict=True)):
        place = pair.places[number if by_level else 0]
        adapted = None
        if pair.name in adapters:
            with torch.no_grad():
                adapted = adapt(adapters[pair.name][number], student, teacher.shape)
        level = place.name if by_level else f'{place.name}[{number}]'
        yield PairMap(pair.name, level, place.context, teacher, student, adapted)
