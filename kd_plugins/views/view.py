"""What a view is: a configuration, and what it becomes once two models are known."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..host_types import Samples
from ..recorders import Recorder
from .base import Activation, MatchedTensors, Shape, Side, TensorSpec
from .layer.source import BoundLayer
from .probe import Probe
from .run import FrozenRun, ModelRun

Match = Callable[[ModelRun, FrozenRun, Samples], list[MatchedTensors | None]]
MatchAlone = Callable[[ModelRun, Samples], list[MatchedTensors | None]]
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
class FeatureSource:
    """What the student knows of the rows of its own logits, beside them.

    Attributes:
        shapes: of the tensors, one for each of the view's, -1 where it depends on the
            batch.
        read: the tensors of a step, of the student's run and what was matched of it;
            None where the student's did not run.
        recorders: what to attach to the student, beyond those of the view.
    """

    shapes: tuple[Shape, ...]
    read: Callable[[ModelRun, Sequence[MatchedTensors | None]], Sequence[Tensor | None]]
    recorders: tuple[Recorder[Any], ...] = ()


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
        match_alone: as ``match``, of the student's run alone, for a loss that reads no
            teacher; None of a view that compares two models.
        features: what the student knows beside its logits, by the argument of a loss
            that asks for it: 'features', what its classifier reads; 'early_features',
            from the middle of the model.
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
    match_alone: MatchAlone | None = None
    features: Mapping[str, FeatureSource] = field(default_factory=dict)

    @property
    def of_logits(self) -> bool:
        """Whether what is compared are logits, which become probabilities."""
        return self.activations is not None or all(
            spec.context.activation is not None for spec in self.tensors
        )

    def with_features(self, names: Sequence[str]) -> 'BoundView':
        """The same view, which reads just these features of the student, too."""
        features = {name: self.features[name] for name in names}
        recorders = [item for each in features.values() for item in each.recorders]
        tensors = tuple(
            replace(
                spec,
                features={name: each.shapes[i] for name, each in features.items()},
            )
            for i, spec in enumerate(self.tensors)
        )
        return replace(
            self,
            tensors=tensors,
            features=features,
            student_recorders=(*self.student_recorders, *recorders),
        )

    def add_features(
        self, student: ModelRun, matched: Sequence[MatchedTensors | None]
    ) -> None:
        """Add to the matched tensors of a step what the student knows beside them."""
        for name, source in self.features.items():
            tensors = source.read(student, matched)
            for item, tensor in zip(matched, tensors, strict=True):
                if item is not None and tensor is not None:
                    item.features[name] = tensor


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
