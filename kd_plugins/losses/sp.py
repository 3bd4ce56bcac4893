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

    The samples of this process are the set, b of them: what else is in the batch
    changes each value. As the paper has it, their mean is divided by b squared in all:
    of twice as many samples of a kind, it is half as large. One sample alone is similar
    to itself, which is a loss of 0.

    Args:
        student: q, shape (R, D), one row a sample, any float dtype.
        teacher: shape (R, D'); no gradient is needed.
        mask: shape (R,), 1 keeps and 0 drops a sample.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples.

    Returns: no unit; neither the scale of the features nor a rotation changes it. A
        scalar, or shape (R,) for 'none', each at most 4 / b. A row of zeros is similar
        to nothing, itself included.
    Raises: ShapeError if the numbers of rows differ.
    Source: Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019,
        https://arxiv.org/abs/1907.09682. Some later implementations divide the whole
        matrix by its norm instead of each row by its own, which is not the published
        form.

    Example:
        >>> import torch
        >>> similarity_preservation(torch.eye(2), torch.ones(2, 2))
        tensor(0.2929)
    """
    check_samples(student, teacher)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        count = kept_rows(student, mask).sum().clamp(min=1)
        own, other = (_similarities(item) for item in (student, teacher))
        # Rows dropped are 0, and so are the similarities to them.
        each = (own - other).square().sum(dim=1) / count  # (R,)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _similarities(rows: Tensor) -> Tensor:
    """Shape (R, R), each row of length 1."""
    rows = rescaled(rows)
    return unit_vectors(rows @ rows.T)


@LOSSES.register_module()
class SPLoss(SampleLoss):
    """Weighted :func:`similarity_preservation`, whose arguments are documented there.

    A sample is a row (R, D), such as a RoI's embedding, or of maps (N, C, H, W) an
    image, all its numbers; a pixel; or a class of an image. Batches of one image a GPU
    give no image-level relations: use RoIs, 'pixel' or 'class'.

    Args:
        loss_weight: factor of the value, >= 0 (gamma; common: 3000, of images).
        sample: 'image', 'pixel', or 'class', which needs labels: view='seg.features'
            or 'seg.logits'.
        max_samples: the most of this process, >= 1; None: all. Memory grows with its
            square.
        reduction: as there.

    Raises: ConfigError for values that cannot be.
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
