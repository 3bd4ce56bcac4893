"""Similarity of two features, whatever the number and order of their channels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ShapeError

GRID = 4


class FeatureMoments:
    """Sums over rows for linear CKA; those of several batches add up.

    Memory: 8 (C_s + C_t)^2 bytes at most, independent of the number of rows.

    Attributes:
        count: number of rows.
        sums: of the channels of both, the student's first, shape (C_s + C_t,).
        products: sums of products of any two channels, shape (C_s + C_t, C_s + C_t).
    """

    def __init__(self) -> None:
        self.count = torch.zeros((), dtype=torch.float64)
        self.sums = torch.zeros((), dtype=torch.float64)
        self.products = torch.zeros((), dtype=torch.float64)
        self._channels = 0

    def add(self, student: Tensor, teacher: Tensor) -> None:
        """Add rows of student (M, C_s) and teacher (M, C_t).

        Raises: ShapeError unless both have the same number of rows.
        """
        if student.dim() != 2 or teacher.dim() != 2 or len(student) != len(teacher):
            raise ShapeError(
                'student (M, C_s) and teacher (M, C_t) must be rows of the same '
                f'samples, got {tuple(student.shape)} and {tuple(teacher.shape)}.'
            )
        both = torch.cat([student.double(), teacher.double()], dim=1).cpu()
        self._channels = student.shape[1]
        self.count = self.count + len(both)
        self.sums = self.sums + both.sum(dim=0)
        self.products = self.products + both.T @ both

    def linear_cka(self) -> Tensor:
        """Linear CKA of all rows; see :func:`linear_cka`."""
        if not self.count:
            return torch.tensor(float('nan'), dtype=torch.float64)
        mean = self.sums / self.count
        centred = self.products - self.count * mean[:, None] * mean
        split = self._channels
        shared = centred[:split, split:].square().sum()
        student_norm = centred[:split, :split].norm()
        cka: Tensor = shared / (student_norm * centred[split:, split:].norm())
        return cka


def linear_cka(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Linear centered kernel alignment of two features of the same rows.

    .. math:: \frac{\lVert Y^\top X \rVert_F^2}
        {\lVert X^\top X \rVert_F \lVert Y^\top Y \rVert_F}

    with each channel of :math:`X` and :math:`Y` centred over the rows. It is 1 for
    features that differ by a rotation of the channels, a common factor and a shift; the
    numbers of channels may differ. With fewer rows than channels it is large for any
    features.

    Args:
        student: shape (M, C_s).
        teacher: shape (M, C_t), of the same rows.

    Returns: float64 scalar, from 0 to 1; NaN if a feature is the same in all rows.

    Raises: ShapeError unless both have the same number of rows.

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited,
        ICML 2019, https://arxiv.org/abs/1905.00414.

    Example:
        >>> feature = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> linear_cka(feature, 5 - 3 * feature.flip(1))
        tensor(1.0000, dtype=torch.float64)
    """
    moments = FeatureMoments()
    if student.dim() == teacher.dim() == 2 and len(student) == len(teacher) > 0:
        # Changes only the rounding error, which grows with the mean.
        student = student.double() - student.double().mean(dim=0)
        teacher = teacher.double() - teacher.double().mean(dim=0)
    moments.add(student, teacher)
    return moments.linear_cka()


def feature_rows(feature: Tensor, valid: Sequence[tuple[float, float]]) -> Tensor:
    """A map as rows: the valid area of each image, averaged over a grid of 4 x 4.

    Maps of different strides give the same rows; an image takes 64 C bytes.

    Args:
        feature: shape (N, C, H, W).
        valid: of each image, the shares of height and width without padding.

    Returns: float32, shape (16 N, C).
    """
    height, width = feature.shape[2:]
    rows = []
    for image, (tall, wide) in zip(feature.float(), valid, strict=True):
        area = image[:, : max(round(height * tall), 1), : max(round(width * wide), 1)]
        rows.append(F.adaptive_avg_pool2d(area, GRID).flatten(1).T)
    return torch.cat(rows)
