"""What a view is: tensors of student and teacher that match sample by sample."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from ..errors import ConfigError, DistillationError
from ..host_types import Samples
from ..losses import LossContext
from ..recorders import Recorder
from .run import FrozenRun, ModelRun

if TYPE_CHECKING:
    from .layer.source import BoundLayer
    from .probe import Probe

Shape = tuple[int, ...]
Side = Literal['student', 'teacher']
Activation = Literal['softmax', 'sigmoid']
SIDES: tuple[Side, Side] = ('student', 'teacher')


@dataclass
class MatchedTensors:
    """Tensors of one level or stage, row by row of the same samples.

    Attributes:
        student: of the student, with its graph.
        teacher: of the teacher, without.
        target: what the host's own loss aims at, where there is such a thing.
        mask: float, 1 keeps and 0 drops a row; between, what it weighs, of rows that
            the view weighs, such as head.distributions.
        count: rows that the mean is taken over: on this rank, and once the step has
            matched all pairs the mean over the ranks.
        context: what a few losses want to know beyond the tensors.
    """

    student: Tensor
    teacher: Tensor
    target: Tensor | None = None
    mask: Tensor | None = None
    count: Tensor | float = 1.0
    context: LossContext = field(default_factory=LossContext)


@dataclass(frozen=True)
class TensorSpec:
    """One level or stage of a pair as it is known when the models are built.

    Attributes:
        name: what is read, such as 'neck[0]' or 'roi.logits'.
        student: shape of the student's tensor, -1 where it depends on the batch.
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


Match = Callable[[ModelRun, FrozenRun, Samples], list[MatchedTensors | None]]
Maps = Callable[[FrozenRun, Side], list[Tensor]]


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
    layers: 'dict[Side, BoundLayer] | None' = None
    activations: dict[Side, Activation] | None = None


class View(ABC):
    """What a configuration says of one kind of head: options, checked.

    A view is registered under the name that a configuration writes: 'roi.logits', or
    ``dict(type='roi.logits', stage=1)``.
    """

    @abstractmethod
    def bind(self, probe: 'Probe') -> BoundView:
        """Check that both models can serve, and say what will be compared.

        Args:
            probe: runs the two models on a black image.

        Raises: ConfigError naming the key to change, below that of the pair.
        """


class UnservedError(ConfigError):
    """A view does not know this kind of model: another view or a layer may serve it."""

    def propose(self, choices: Sequence[str]) -> None:
        """Name what can be compared of the two models, as a pair writes it."""
        listed = ', '.join(choices) or 'nothing that kd_plugins knows'
        self.args = (f'{self.args[0]} Of these two models can be compared: {listed}.',)


def check_same_images(student: int, teacher: int, what: str) -> None:
    """Refuse a student whose heads look at other images than the batch's.

    Args:
        student: how many images its heads look at.
        teacher: how many the teacher is given.
        what: of the student, for messages.

    Raises: DistillationError if they differ.
    """
    if student != teacher:
        raise DistillationError(
            f'{several_copies(what, student, teacher)} Use a pair of layers before '
            "that, such as layer='backbone.layer2'."
        )


def several_copies(what: str, student: int, teacher: int) -> str:
    """Why a student that looks at several copies of an image cannot be matched.

    Args:
        what: of the student looks at them.
        student: how many images it looks at.
        teacher: how many there are.
    """
    return (
        f'{what} of the student works on {student} images, the batch has {teacher}: '
        'in training the model shows its heads several copies of each image, as '
        'TridentNet does, and the teacher sees each once.'
    )
