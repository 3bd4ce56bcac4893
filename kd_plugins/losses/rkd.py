"""Relational distillation by distances and angles, of Park et al. 2019."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_float
from kd_plugins.errors import ConfigError
from kd_plugins.losses._reductions import (
    SHORTEST,
    float32_rows,
    reduce_loss,
    unit_vectors,
)
from kd_plugins.losses._samples import (
    SampleLoss,
    check_samples,
    kept_rows,
    rescaled,
)
from kd_plugins.registry import LOSSES


def relational_difference(
    student: Tensor,
    teacher: Tensor,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    with_l2_norm: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Differences between the distances and the angles of samples, sample by sample.

    .. math:: L_j = \frac{\lambda_D}{n} \sum_i h(\psi^S_{ij} - \psi^T_{ij})
        + \frac{\lambda_A}{n^2} \sum_{i,k} h(\psi^S_{ijk} - \psi^T_{ijk})

    with the Huber function :math:`h(x) = x^2 / 2` up to 1, :math:`|x| - 1/2` beyond,

    .. math:: \psi_{ij} = \|e_i - e_j\|_2 / \mu, \qquad
        \psi_{ijk} = \cos \angle (e_i - e_j, \; e_k - e_j)

    and :math:`\mu` the mean of a model's distances that are not 0. The n samples of
    this process are compared with each other, so the value of a sample depends on the
    batch. The mean is a mean over all pairs and triplets, and does not grow with n. Two
    samples have one distance, which equals its mean, and no angle. The loss is 0 with
    fewer than three samples, or if all samples of one model are equal.

    Memory grows with the cube of the samples: a few times n n (n + D + D') numbers, but
    not n n n D.

    Args:
        student: e, shape (R, D), one row a sample, any float dtype.
        teacher: shape (R, D'); no gradient is needed.
        distance_weight: lambda_D, >= 0; 0 leaves the distances out.
        angle_weight: lambda_A, >= 0; 0 leaves the angles out.
        with_l2_norm: first scale each row to length 1, as in some toolboxes.
        mask: shape (R,), 1 keeps and 0 drops a sample.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples.

    Returns: no unit; the scale, a rotation or a shift of the embeddings does not change
        it (a shift does with ``with_l2_norm``). A scalar, or shape (R,) for 'none'.
        Samples closer than about a millionth of their size count as equal: their
        distance, angles and gradients are 0.
    Raises: ShapeError if the numbers of rows differ; ConfigError for weights < 0, or
        both 0.
    Source: Park et al., Relational Knowledge Distillation, CVPR 2019,
        https://arxiv.org/abs/1904.05068. The defaults are those of classification;
        for metric learning the authors weigh distances to angles 1 : 2.

    Example:
        >>> import torch
        >>> student = torch.tensor([[0.0], [1.0], [3.0]])
        >>> teacher = torch.tensor([[0.0], [1.0], [2.0]])
        >>> relational_difference(
        ...     student, teacher, distance_weight=1.0, angle_weight=0.0
        ... )
        tensor(0.0139)
    """
    check_samples(student, teacher)
    _check_weights(distance_weight, angle_weight)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        kept = kept_rows(student, mask)
        count = kept.sum().clamp(min=1)
        if with_l2_norm:
            student, teacher = (
                unit_vectors(rescaled(item)) for item in (student, teacher)
            )
        differences = [_differences(item, kept) for item in (student, teacher)]
        distances, means = zip(*map(_distances, differences), strict=True)
        each = student.sum(dim=1) * 0  # a graph, even without samples
        if distance_weight:
            scaled = [
                distance / mean.clamp(min=SHORTEST)
                for distance, mean in zip(distances, means, strict=True)
            ]
            each = each + distance_weight * _huber(*scaled).sum(dim=1) / count
        if angle_weight:
            angles = [
                unit @ unit.transpose(1, 2) for unit in map(unit_vectors, differences)
            ]  # (R, R, R), with the vertex first
            term = _huber(*angles).sum(dim=(1, 2)) / count**2
            each = each + angle_weight * term
        # If all samples are equal, there is no mean distance and no angle.
        defined = (means[0] > 0) & (means[1] > 0)
        each = torch.where(defined, each, each * 0)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _check_weights(distance_weight: float, angle_weight: float) -> None:
    check_float('distance_weight', distance_weight)
    check_float('angle_weight', angle_weight)
    if not distance_weight and not angle_weight:
        raise ConfigError(
            'distance_weight and angle_weight are both 0: there is nothing to compare. '
            'Set one of them, or use loss_weight=0.'
        )


def _differences(rows: Tensor, kept: Tensor) -> Tensor:
    """From each row to each row, shape (R, R, D); 0 for dropped rows."""
    rows = rescaled(rows)
    dropped = ~(kept[:, None] & kept)
    return (rows - rows[:, None]).masked_fill(dropped[..., None], 0.0)


def _distances(differences: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (R, R), and the mean of those that are not 0, or 0."""
    squared = differences.square().sum(dim=2)
    apart = squared > SHORTEST**2
    distances = squared.clamp(min=SHORTEST**2).sqrt().masked_fill(~apart, 0.0)
    return distances, distances.sum() / apart.sum().clamp(min=1)


def _huber(student: Tensor, teacher: Tensor) -> Tensor:
    return F.huber_loss(student, teacher, reduction='none')


@LOSSES.register_module()
class RKDLoss(SampleLoss):
    """Weighted :func:`relational_difference`.

    A sample is a row (R, D), such as a RoI's embedding; of maps (N, C, H, W) it is the
    mean of an image, a pixel, or a class of an image. Batches of fewer than three
    images a GPU have no relations between images: use RoIs, 'pixel' or 'class'.

    Args:
        loss_weight: factor of the value, >= 0.
        sample: 'image', 'pixel', or 'class', which needs labels: view='seg.features'
            or 'seg.logits'.
        max_samples: the most samples of this process, >= 1; None: all. Memory grows
            with its cube.

    Other arguments: as of :func:`relational_difference`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        with_l2_norm: bool = False,
        sample: str = 'image',
        max_samples: int | None = 64,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, sample, max_samples, reduction)
        _check_weights(distance_weight, angle_weight)
        self.distance_weight = float(distance_weight)
        self.angle_weight = float(angle_weight)
        self.with_l2_norm = with_l2_norm

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these samples; see :func:`relational_difference`."""
        samples = self.samples(student, teacher.detach(), target, mask, avg_factor)
        return self.loss_weight * relational_difference(
            samples.student,
            samples.teacher,
            distance_weight=self.distance_weight,
            angle_weight=self.angle_weight,
            with_l2_norm=self.with_l2_norm,
            mask=samples.mask,
            avg_factor=samples.avg_factor,
            reduction=self.reduction,
        )
