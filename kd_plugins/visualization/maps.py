"""What pairs compare, as maps of whole images, of both models as they predict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..distillers import Distiller
from ..distillers.pair import Pair, adapt
from ..distillers.step import Step
from ..errors import ConfigError, nearest
from ..host_types import Samples
from ..losses import LossContext
from ..views import FrozenRun

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
        """One number a pixel, (H, W), float32 on the CPU.

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
    pairs = {pair.name: pair for pair in distiller.pairs}
    for name in names or ():
        if name not in pairs:
            raise ConfigError(f"pairs: there is no '{name}'. {nearest(name, pairs)}")
    return [pairs[name] for name in (pairs if names is None else names)]


def pair_maps(
    distiller: Distiller, pairs: Sequence[Pair], inputs: Tensor, samples: Samples
) -> list[PairMap]:
    """What pairs compare, with both models in ``eval()`` and without gradient.

    Args:
        distiller: itself, not what distributes it; it does not change.
        pairs: of it. Those that compare rows, of RoIs or sampled edges, have no maps.
        inputs: (N, C, H, W), preprocessed for the student.
        samples: of these images; they need no annotations.
    """
    names = [pair.name for pair in pairs]
    with distiller.step(inputs, samples, pairs=names, frozen=True) as step:
        return [heat for pair in pairs for heat in _maps_of(pair, step)]


def _maps_of(pair: Pair, step: Step) -> Iterator[PairMap]:
    maps = pair.view.maps
    if maps is None:
        return
    assert isinstance(step.student, FrozenRun)
    of_student = maps(step.student, 'student')
    of_teacher = maps(step.teachers[pair.teacher], 'teacher')
    by_level = len(of_student) == len(pair.tensors)
    for number, (student, teacher) in enumerate(
        zip(of_student, of_teacher, strict=True)
    ):
        spec = pair.tensors[number if by_level else 0]
        adapted = None
        if pair.adapters is not None:
            with torch.no_grad():
                adapted = adapt(pair.adapters[number], student, teacher.shape)
        level = spec.name if by_level else f'{spec.name}[{number}]'
        yield PairMap(pair.name, level, spec.context, teacher, student, adapted)
