"""Similarity-preserving distillation, of Tung and Mori 2019."""

from torch import Tensor

from kd_plugins.losses._reductions import float32_rows, reduce_loss, unit_vectors
from kd_plugins.losses._samples import (
    SampleLoss,
    check_samples,
    kept_rows,
    rescaled,
)
from kd_plugins.registry import LOSSES


def similarity_preservation(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared difference between the similarities of samples, sample by sample.

    .. math:: L_i = \frac{1}{b} \|g^T_i - g^S_i\|_2^2, \qquad
        g_i = \frac{\tilde g_i}{\|\tilde g_i\|_2}, \quad
        \tilde g_{ij} = q_i^\top q_j

    The b samples of this process are compared with each other, so the value of a sample
    depends on the batch. As in the paper, the mean divides by b squared: it halves if
    the samples double. With a single sample it is 0.

    Args:
        student: q, shape (R, D), one row a sample, any float dtype.
        teacher: shape (R, D'); no gradient is needed.
        mask: shape (R,), 1 keeps and 0 drops a sample.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples.

    Returns: no unit; the scale or a rotation of the features does not change it. A
        scalar, or shape (R,) for 'none', each at most 4 / b. The similarities of a row
        of zeros are 0, including that to itself.
    Raises: ShapeError if the numbers of rows differ.
    Source: Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019,
        https://arxiv.org/abs/1907.09682. Some later implementations divide the whole
        matrix by its norm instead of each row by the row's norm, unlike the paper.

    Example:
        >>> import torch
        >>> similarity_preservation(torch.eye(2), torch.ones(2, 2))
        tensor(0.2929)
    """
    check_samples(student, teacher)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        count = kept_rows(student, mask).sum().clamp(min=1)
        student, teacher = (_similarities(item) for item in (student, teacher))
        # Dropped rows are 0, and so are the similarities to them.
        each = (student - teacher).square().sum(dim=1) / count  # (R,)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _similarities(rows: Tensor) -> Tensor:
    """Similarities (R, R), each row of length 1."""
    rows = rescaled(rows)
    return unit_vectors(rows @ rows.T)


@LOSSES.register_module()
class SPLoss(SampleLoss):
    """Weighted :func:`similarity_preservation`.

    A sample is a row (R, D), such as a RoI's embedding; of maps (N, C, H, W) it is all
    numbers of an image, a pixel, or a class of an image. Batches of one image a GPU
    have no relations between images: use RoIs, 'pixel' or 'class'.

    Args:
        loss_weight: factor of the value, >= 0 (gamma; common: 3000, of images).
        sample: 'image', 'pixel', or 'class', which needs labels: view='seg.features'
            or 'seg.logits'.
        max_samples: the most samples of this process, >= 1; None: all. Memory grows
            with its square.

    Other arguments: as of :func:`similarity_preservation`.
    Raises: ConfigError for invalid values.
    """

    flattened = True

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these samples; see :func:`similarity_preservation`."""
        samples = self.samples(student, teacher.detach(), target, mask, avg_factor)
        return self.loss_weight * similarity_preservation(
            samples.student,
            samples.teacher,
            mask=samples.mask,
            avg_factor=samples.avg_factor,
            reduction=self.reduction,
        )
