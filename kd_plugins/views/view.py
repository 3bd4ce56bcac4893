"""What a view is: a configuration, and what it becomes once two models are known."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..host_types import Samples
from ..recorders import Recorder
from .base import Activation, MatchedTensors, Side, TensorSpec
from .layer.source import BoundLayer
from .probe import Probe
from .run import FrozenRun, ModelRun

Match = Callable[[ModelRun, FrozenRun, Samples], list[MatchedTensors | None]]
Maps = Callable[[FrozenRun, Side], list[Tensor]]


@dataclass(frozen=True)
class Classifier:
    """How a teacher tells the classes of features that a view reads.

    Attributes:
        of: its classifier, of a run: from features to class logits of the same rows.
        activation: how it turns them into probabilities.
        classes: columns of its logits.
    """

    of: Callable[[FrozenRun], Callable[[Tensor], Tensor]]
    activation: Activation
    classes: int


@dataclass(frozen=True)
class BoundView:
    """A view of two models: what is compared, how it is recorded, and matched.

    Attributes:
        tensors: levels or stages that are compared.
        match: matched tensors of a step, of the student's run, the teacher's, and the
            batch's data samples: one entry for each of ``tensors``, None where the
            student's did not run.
        student_recorders: what to attach to the student while it computes its losses.
        teacher_recorders: what to attach to the teacher.
        teacher_parts: parts of the teacher that must run, beyond its backbone.
        has_target: whether it knows what the host's own loss aims at, row by row.
        requires_same_classes: whether rows only match if both models know the same
            classes.
        maps: what is compared, as maps (N A, C, H, W) of whole images, of either model
            as it predicts, its recorders attached: as many as ``tensors``, or more
            where one of these holds all levels. None where rows are compared.
        layers: of a view of layers, what is read of 'student' and 'teacher'.
        classifier: of features, how the teacher tells their classes; None where the
            view does not know it, or reads no features.
        activations: of logits, how each model turns its own into probabilities, where
            they may do it differently; then the context knows of none.
    """

    tensors: tuple[TensorSpec, ...]
    match: Match
    student_recorders: tuple[Recorder[Any], ...]
    teacher_recorders: tuple[Recorder[Any], ...] = ()
    teacher_parts: tuple[str, ...] = ()
    has_target: bool = False
    requires_same_classes: bool = False
    maps: Maps | None = None
    layers: dict[Side, BoundLayer] | None = None
    classifier: Classifier | None = None
    activations: dict[Side, Activation] | None = None


class View(ABC):
    """What a configuration says of one kind of head: options, checked.

    A view is registered under the name that a configuration writes: 'roi.logits', or
    ``dict(type='roi.logits', stage=1)``.
    """

    @abstractmethod
    def bind(self, probe: Probe) -> BoundView:
        """Check that both models can serve, and say what will be compared.

        Args:
            probe: runs the two models on a black image.

        Raises: ConfigError naming the key to change, below that of the pair.
        """

    def maps_of(self, probe: Probe) -> dict[Side, list[Tensor]]:
        """Maps of each model, level by level, where all levels are to be compared.

        Args:
            probe: runs the two models on a black image.

        Returns: nothing for a view of chosen levels, or without any.
        Raises: as of :meth:`bind`.
        """
        return {}
