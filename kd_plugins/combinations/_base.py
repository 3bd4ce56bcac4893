"""What a combination of several teachers is: one target, or a sum of their losses."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor


class Combination:
    """How what several teachers give becomes what the student learns.

    Class attributes:
        of_logits: whether it is defined on class logits alone.
    """

    of_logits: ClassVar[bool] = False

    def describe(self) -> str:
        """Its name, for the summary."""
        return type(self).__name__


class MergedTeachers(Combination):
    """One target is made of several: the loss is computed once.

    Class attributes:
        normalizes: whether nothing but the probabilities of a softmax is kept of the
            teachers' logits.
    """

    of_logits = True
    normalizes: ClassVar[bool] = False

    @abstractmethod
    def merge(self, logits: Tensor, *, use_sigmoid: bool) -> Tensor:
        """Logits of one teacher that stands for all.

        Args:
            logits: of the teachers, (T, M, K) or (T, N, K, H, W).
            use_sigmoid: True: one sigmoid for each column; False: one softmax.

        Returns: (M, K) or (N, K, H, W).
        """


class WeighedLosses(Combination):
    """The loss under each teacher is computed, and weighed.

    Class attributes:
        of_rows: whether each row has weights of its own.
        needs_labels: whether they depend on the rows' labels.
        of_features: whether features are weighed too, where the view knows by which
            layer each teacher tells their classes: by the classes that this layer sees
            in the student's feature, behind its adapter.

    Attributes:
        detach_weights: whether weights by the student's feature take no gradient.
    """

    of_rows: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    of_features: ClassVar[bool] = False
    detach_weights: bool = True

    @abstractmethod
    def weights(
        self,
        logits: Tensor | None,
        number: int,
        *,
        target: Tensor | None = None,
        use_sigmoid: bool = False,
    ) -> Tensor:
        """Weight of each teacher's loss.

        Args:
            logits: of the teachers, or as their classifiers judge the student's
                feature, (T, M, K) or (T, N, K, H, W); None where weights do not differ
                from row to row.
            number: T, of the teachers.
            target: labels (M,) or (N, H, W); of a single sigmoid column 1 or 0.
            use_sigmoid: True: one sigmoid for each column; False: one softmax.

        Returns: (T,), or (T, M) or (T, N, H, W).
        """
