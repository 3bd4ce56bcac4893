"""What a switch is: statistics of a step, and a decision from their sums."""

from abc import ABC, abstractmethod

from torch import Tensor


class Switch(ABC):
    """Whether a peer that teaches another learns in this step, too.

    The statistics are sums over rows: those of several levels, and of several
    processes, are added up before anything is decided, so that all processes decide
    alike.
    """

    @abstractmethod
    def statistics(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor,
        *,
        mask: Tensor | None = None,
        background: int | None = None,
    ) -> Tensor:
        """Sums over the rows of one level, shape (S,), float32.

        Args:
            student: class logits of the peer that learns, (M, K) or (N, K, H, W).
            teacher: of the peer whose learning is decided about, same shape and rows.
            target: labels, (M,) or (N, H, W).
            mask: same shape as the labels, 1 keeps and 0 drops a row.
            background: column of the background class; None: there is none.
        """

    @abstractmethod
    def learns(self, sums: Tensor) -> Tensor:
        """Whether it learns, a scalar of bool.

        Args:
            sums: (S,), of all rows.
        """
