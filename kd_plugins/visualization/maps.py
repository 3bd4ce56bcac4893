"""The maps that pairs compare, of whole images, while both models predict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..distillers import Distiller
from ..distillers.pair import NO_TEACHER, Pair, adapt
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
        context: of the losses at this level.
        teacher: of the teacher.
        student: of the student; its channels and size may differ.
        adapted: of the student, after the pair's adapter; None without an adapter.
    """

    pair: str
    level: str
    context: LossContext
    teacher: Tensor
    student: Tensor
    adapted: Tensor | None

    @property
    def quantity(self) -> str:
        """Name of the quantity that :meth:`heat` returns."""
        if self.context.activation is not None:
            return PROBABILITY
        return VALUE if self.teacher.shape[1] == 1 else MAGNITUDE

    def heat(self, value: Tensor) -> Tensor:
        """One number for each pixel, (H, W), float32 on the CPU.

        For logits it is the highest probability of a class other than the background;
        for features the mean magnitude over channels; for one channel its value.

        Args:
            value: one of the maps, of a single image.
        """
        value = value.detach().float()
        activation, background = self.context.activation, self.context.background
        if activation is not None:
            probs = value.sigmoid() if activation == 'sigmoid' else value.softmax(1)
            kept = [label for label in range(probs.shape[1]) if label != background]
            return probs[:, kept].amax(dim=(0, 1)).cpu()
        return (value if value.shape[1] == 1 else value.abs()).mean(dim=(0, 1)).cpu()


def choose_pairs(distiller: Distiller, names: Sequence[str] | None) -> list[Pair]:
    """Pairs of these names; all of them for None.

    Raises: ConfigError for an unknown name.
    """
    pairs = {pair.name: pair for pair in distiller.pairs}
    for name in names or ():
        if name not in pairs:
            raise ConfigError(f"pairs: there is no '{name}'. {nearest(name, pairs)}")
    return [pairs[name] for name in (pairs if names is None else names)]


def pair_maps(
    distiller: Distiller, pairs: Sequence[Pair], inputs: Tensor, samples: Samples
) -> list[PairMap]:
    """The maps of pairs, with both models in ``eval()`` and without gradient.

    Args:
        distiller: not wrapped for distributed training; it does not change.
        pairs: of the distiller. Pairs of rows, of RoIs or sampled edges, have no maps,
            and pairs without a teacher nothing to compare them with.
        inputs: (N, C, H, W), preprocessed for the student.
        samples: of these images; annotations are not needed.
    """
    names = [pair.name for pair in pairs]
    with distiller.step(inputs, samples, pairs=names, frozen=True) as step:
        return [heat for pair in pairs for heat in _maps_of(pair, step)]


def _maps_of(pair: Pair, step: Step) -> Iterator[PairMap]:
    maps = pair.view.maps
    if maps is None or pair.teacher == NO_TEACHER:
        return
    assert isinstance(step.student, FrozenRun)
    student_maps = maps(step.student, 'student')
    teacher_maps = pair.teacher_maps(step)
    by_level = len(student_maps) == len(pair.view.tensors)
    for number, (student, teacher) in enumerate(
        zip(student_maps, teacher_maps, strict=True)
    ):
        spec = pair.tensors[number if by_level else 0]
        adapted = None
        if pair.adapters is not None:
            with torch.no_grad():
                adapted = adapt(pair.adapters[number], student, teacher.shape)
        level = spec.name if by_level else f'{spec.name}[{number}]'
        yield PairMap(pair.name, level, spec.context, teacher, student, adapted)
