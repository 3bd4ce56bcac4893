"""What a view is: tensors of student and teacher that match sample by sample."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from ..losses import LossContext

Shape = tuple[int, ...]


@dataclass
class MatchedTensors:
    """Tensors of one level or stage, row by row of the same samples.

    Attributes:
        student: of the student, with its graph.
        teacher: of the teacher, without.
        target: what the host's own loss aims at, where there is such a thing.
        mask: float, 1 keeps and 0 drops a row; between, what it weighs, of rows that
            the view weighs, such as head.distributions.
        count: rows that the mean is taken over, on this rank.
        context: what a few losses want to know beyond the tensors.
    """

    student: Tensor
    teacher: Tensor
    target: Tensor | None = None
    mask: Tensor | None = None
    count: Tensor | float = 1.0
    context: LossContext = field(default_factory=LossContext)


@dataclass(frozen=True)
class Place:
    """One level or stage of a pair as it is known when the models are built.

    Attributes:
        name: what is read, such as 'neck[0]' or 'roi.logits'.
        student: shape of the student's tensor; None where it depends on the batch.
        teacher: likewise.
        scale_factor: (height, width) of the teacher's map over the student's.
        context: what losses are told of it.
        target: shape of what the host's own loss aims at, where there is such a thing:
            one number a row or pixel is a class label, but of sigmoid rows an answer.
    """

    name: str
    student: Shape
    teacher: Shape
    scale_factor: tuple[float, float] = (1.0, 1.0)
    context: LossContext = field(default_factory=LossContext)
    target: Shape | None = None


class Recorder(ABC):
    """Attaches to a model for one forward pass. Equal captures are shared by pairs."""

    @abstractmethod
    def open(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Attach within the block; yields what will hold the captured tensors."""


class View(ABC):
    """Knows one kind of head and returns matched tensors.

    Class attributes:
        prefix: ``'roi'`` lets ``'roi.logits'`` stand for ``dict(type='RoIView',
            value='logits')``.
        values: what ``value`` may be; empty for views without one.
    """

    prefix: ClassVar[str | None] = None
    values: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def bind(self, probe: Any, where: str) -> list[Place]:
        """Check that both models can serve, and say what will be compared.

        Args:
            probe: a :class:`~kd_plugins.views.probe.Probe` of the two models.
            where: configuration key of the pair, for messages.

        Raises: ConfigError naming the key to change.
        """

    @abstractmethod
    def student_recorders(self) -> Sequence[Recorder]:
        """What to attach to the student while it computes its own losses."""

    def teacher_recorders(self) -> Sequence[Recorder]:
        """What to attach to the teacher."""
        return ()

    @abstractmethod
    def teacher_parts(self) -> tuple[str, ...]:
        """Parts of the teacher that must run, beyond its backbone."""

    @property
    def has_target(self) -> bool:
        """Whether it knows what the host's own loss aims at, row by row."""
        return False

    @property
    def requires_same_classes(self) -> bool:
        """Whether rows only match if both models know the same classes."""
        return False

    def maps(self, run: Any, which: str) -> list[Tensor]:
        """What is compared, as maps of whole images, of either model as it predicts.

        Args:
            run: a :class:`~kd_plugins.views.run.ModelRun`, this view's captures
                attached.
            which: 'student' or 'teacher'.

        Returns: (N A, C, H, W) a level, as many as places, or more where a place holds
            all levels; empty where rows are compared that are no map.
        """
        return []

    @abstractmethod
    def match(self, step: Any) -> list[MatchedTensors | None]:
        """Matched tensors of this step: one entry a place, None if it did not run.

        Args:
            step: a :class:`~kd_plugins.views.step.Step`.
        """
