"""Base of the registered target transforms, and what they change."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from kd_plugins.losses import LossContext


@dataclass(frozen=True)
class ComparedRows:
    """Logits of both models as a loss will compare them.

    Args:
        student: shape (M, K), or maps (N, K, H, W) whose pixels are rows, behind its
            adapter.
        teacher: same shape and rows.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row; None keeps all.
        images: number of the image of each row, shape (M,); None: not known, or maps.
    """

    student: Tensor
    teacher: Tensor
    mask: Tensor | None = None
    images: Tensor | None = None


class TargetTransform(ABC):
    """Changes what a loss of logits compares, in training alone.

    Class attributes:
        weighs_rows: whether it changes the weights of rows and nothing of the teacher:
            then the loss may be one that reads no teacher.
    """

    weighs_rows: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, rows: ComparedRows, context: LossContext) -> ComparedRows:
        """The rows, changed; the tensors themselves stay.

        Args:
            rows: of one level or stage of a pair.
            context: what the view knows of them.

        Raises: ShapeError for rows that it cannot change.
        """
