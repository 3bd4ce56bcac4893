"""Batch knowledge ensembling, of Ge et al. 2021."""

import torch
from torch import Tensor

from kd_plugins.checks import check_float, check_int
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._logits import softmax_divergence
from kd_plugins.losses._queues import index_in_group
from kd_plugins.losses._reductions import float32_rows, reduce_loss, unit_vectors
from kd_plugins.losses._teacher_free import (
    background_of,
    check_softmax,
    feature_rows,
    kept_weights,
    labelled_rows,
    share_of_count,
)
from kd_plugins.registry import LOSSES


def batch_ensembled_divergence(
    student: Tensor,
    *,
    features: Tensor,
    temperature: float = 4.0,
    omega: float = 0.5,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Divergence of each row from an ensemble of the rows that resemble it.

    .. math:: L_i = \tau^2 \, \mathrm{KL}(Q_i \,\|\, p_i), \quad
        Q = (1 - \omega) (I - \omega A)^{-1} p

    with p the softmax of the softened logits, and A the affinity of the rows: the
    softmax, over the other rows, of the cosines of their features. Q is what rows come
    to that pass on their predictions without end; it takes no gradient. The rows of a
    process are the batch: the value of a row depends on the others, and that of a row
    without any other is 0.

    Args:
        student: logits, shape (M, K), any float dtype.
        features: of the same rows, shape (M, D); no gradient is needed.
        temperature: > 0, no unit; larger is flatter.
        omega: how much of its target a row takes from others, from 0 (nothing: the
            value is 0) to below 1.
        mask: shape (M,), 1 keeps and 0 drops a row, as a row and from the ensembles of
            others.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError for tensors of other shapes; ConfigError for invalid numbers.
    Source: Ge et al., Self-distillation with Batch Knowledge Ensembling Improves
        ImageNet Classification, 2021, https://arxiv.org/abs/2104.13298. Author code:
        https://github.com/yxgeee/BAKE. A linear system is solved here, where it inverts
        a matrix.

    Example:
        >>> logits, features = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.eye(2)
        >>> batch_ensembled_divergence(logits, features=features)
        tensor(0.2217)
    """
    check_float('temperature', temperature, strict=True)
    check_omega(omega)
    for name, item in (('student', student), ('features', features)):
        if item.dim() != 2 or len(item) != len(student):
            raise ShapeError(
                f'student and features must be rows (M, K) and (M, D) of the same '
                f'samples, got {name} {tuple(item.shape)} beside '
                f'{tuple(student.shape)}.'
            )
    with float32_rows(student, features.detach(), mask=mask) as (logits, rows):
        logits = logits / temperature
        kept = torch.ones_like(logits[:, 0]) if mask is None else mask
        ensembled = ensemble(logits.detach().softmax(dim=1), rows, kept > 0, omega)
        divergence = softmax_divergence(logits, ensembled.log())
        return temperature**2 * reduce_loss(
            divergence, reduction, mask=mask, avg_factor=avg_factor
        )


def check_omega(omega: float) -> float:
    """The value, if it lies between 0 and 1, and is not 1.

    Raises: ConfigError otherwise.
    """
    if check_float('omega', omega) >= 1:
        raise ConfigError(f'omega must be a number >= 0 and < 1, got {omega!r}.')
    return omega


def affinity(features: Tensor, kept: Tensor) -> Tensor:
    """How much each row listens to each other row, (M, M); each row sums to 1.

    Args:
        features: shape (M, D).
        kept: bool, shape (M,); to rows that are not kept nobody listens.

    Returns: 0 on the diagonal, and 1 there for a row without any other.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> affinity(rows, torch.ones(3, dtype=torch.bool))[0]
        tensor([0.0000, 0.7311, 0.2689])
    """
    rows = unit_vectors(features)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    left_out = itself | ~kept
    cosines = (rows @ rows.mT).masked_fill(left_out, torch.finfo(rows.dtype).min)
    weights = cosines.softmax(dim=1).masked_fill(left_out, 0.0)
    alone = left_out.all(dim=1, keepdim=True)
    return weights + (itself & alone)


def ensemble(probs: Tensor, features: Tensor, kept: Tensor, omega: float) -> Tensor:
    """Probabilities (M, K) that the rows come to, each listening to the others.

    Args:
        probs: of each row by itself, shape (M, K).
        features: shape (M, D).
        kept: bool, shape (M,).
        omega: as of :func:`batch_ensembled_divergence`.
    """
    weights = affinity(features, kept)
    unit = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
    mixed: Tensor = torch.linalg.solve(unit - omega * weights, (1 - omega) * probs)
    return mixed.clamp(min=torch.finfo(mixed.dtype).tiny)  # the solver may end below 0


def balanced_sample(labels: Tensor, kept: Tensor, count: int) -> Tensor:
    """Numbers (count,) of random rows, as many of each label as there are.

    The first of each label come before the second of any. Rows that are not kept come
    last. They are drawn on the device, which is not waited for.

    Args:
        labels: whole numbers, shape (M,), M >= count.
        kept: bool, shape (M,).
        count: how many.
    """
    groups = torch.where(kept, labels, -1)
    shuffled = torch.rand(len(groups), device=groups.device).argsort()
    turn = torch.empty_like(groups)
    turn[shuffled] = index_in_group(groups[shuffled])
    turn = torch.where(kept, turn, len(groups))
    # Of those whose turn it is, random ones: in the order of the shuffle.
    order = turn[shuffled].argsort(stable=True)
    return shuffled[order[:count]]


@LOSSES.register_module()
class BAKELoss(DistillationLoss):
    """Weighted :func:`batch_ensembled_divergence`, without a teacher.

    Rows are the RoIs of a batch, without those of the background, or labelled pixels;
    features are what their classifier reads. The paper's values: temperature 4 and
    weight 1 everywhere; omega 0.5 for CIFAR-100 and ImageNet, 0.9 for smaller data. The
    paper samples batches that hold images of the same class, as RoIs and pixels of a
    batch do by themselves.

    Args:
        loss_weight: factor of the value, >= 0.
        max_samples: the most rows of this process, >= 2. Of more, random ones, as many
            of each class as there are: their equations take the cube of it.
        with_background: whether RoIs of the background count like others.

    Other arguments: as of :func:`batch_ensembled_divergence`.
    Raises: ConfigError for invalid values, and for logits of a sigmoid.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 4.0,
        omega: float = 0.5,
        max_samples: int = 512,
        with_background: bool = False,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.temperature = check_float('temperature', temperature, strict=True)
        self.omega = check_omega(omega)
        self.max_samples = check_int('max_samples', max_samples, minimum=2)
        self.with_background = with_background

    def forward(
        self,
        student: Tensor,
        *,
        features: Tensor | None = None,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`batch_ensembled_divergence`.

        Args:
            student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows.
            features: of the same rows, shape (M, D), or maps (N, D, H, W).
            target: labels, shape (M,) or (N, H, W).
            mask: likewise, 1 keeps and 0 drops a row.
            avg_factor: as there.
            context: of the view.
        """
        check_softmax(context, 'BAKELoss')
        rows = labelled_rows(student, target, mask, 'BAKE')
        logits = rows.logits
        features = feature_rows(features, student, 'features')
        background = background_of(context, self.with_background)
        kept = kept_weights(rows.labels, rows.mask, background)
        if len(logits) > self.max_samples:
            if kept is None:
                kept = torch.ones_like(logits[:, 0], dtype=torch.float32)
            labels = rows.labels.masked_fill(kept <= 0, 0).long()
            index = balanced_sample(labels, kept > 0, self.max_samples)
            logits, features, kept = logits[index], features[index], kept[index]
        return self.loss_weight * batch_ensembled_divergence(
            logits,
            features=features,
            temperature=self.temperature,
            omega=self.omega,
            mask=kept,
            avg_factor=share_of_count(avg_factor, kept, rows.mask),
            reduction=self.reduction,
        )
