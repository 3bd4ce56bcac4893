"""What views compare: tensors of student and teacher, matched sample by sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from ..errors import ConfigError, DistillationError
from ..losses import LossContext

Shape = tuple[int, ...]
Side = Literal['student', 'teacher']
Activation = Literal['softmax', 'sigmoid']
SIDES: tuple[Side, Side] = ('student', 'teacher')


@dataclass
class MatchedTensors:
    """Tensors of one level or stage, row by row of the same samples.

    Attributes:
        student: of the student, with its graph.
        teacher: of the teacher, without; of a pair without a teacher, the student's.
        target: what the host's own loss aims at, where there is such a thing.
        mask: float, 1 keeps and 0 drops a row; between, what it weighs, of rows that
            the view weighs, such as head.distributions.
        count: rows that the mean is taken over: on this rank, and once the step has
            matched all pairs the mean over the ranks.
        context: what a few losses want to know beyond the tensors.
        features: what the student knows of the same rows, by the argument of a loss.
        images: number of the image of each row, shape (R,), of rows whose view knows.
    """

    student: Tensor
    teacher: Tensor
    target: Tensor | None = None
    mask: Tensor | None = None
    count: Tensor | float = 1.0
    context: LossContext = field(default_factory=LossContext)
    features: dict[str, Tensor] = field(default_factory=dict)
    images: Tensor | None = None


@dataclass(frozen=True)
class TensorSpec:
    """One level or stage of a pair as it is known when the models are built.

    Attributes:
        name: what is read, such as 'neck[0]' or 'roi.logits'.
        student: shape of the student's tensor, -1 where it depends on the batch.
        teacher: likewise.
        scale_factor: (height, width) of the teacher's map over the student's.
        context: what losses may know of it.
        target: shape of what the host's own loss aims at, where there is such a thing:
            one number a row or pixel is a class label, but of sigmoid rows an answer.
        features: shapes of what the student knows of the same rows, where a loss asks,
            by its argument.
        images: shape of the numbers of the rows' images, of rows whose view knows.
    """

    name: str
    student: Shape
    teacher: Shape
    scale_factor: tuple[float, float] = (1.0, 1.0)
    context: LossContext = field(default_factory=LossContext)
    target: Shape | None = None
    features: Mapping[str, Shape] = field(default_factory=dict)
    images: Shape | None = None


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
