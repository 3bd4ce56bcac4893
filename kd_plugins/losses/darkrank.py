"""DarkRank: the ranking of a sample's nearest samples, of Chen et al. 2018."""

from itertools import permutations

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_float, check_optional_int
from kd_plugins.errors import ConfigError
from kd_plugins.losses._reductions import float32_rows, reduce_loss, unit_vectors
from kd_plugins.losses._samples import (
    SampleLoss,
    check_samples,
    kept_rows,
    rescaled,
)
from kd_plugins.registry import LOSSES

MODES = ('soft', 'hard')
SOFT_LENGTH = 4
# Of five samples there are 120 orders, of eight already 40,320.
LONGEST_SOFT = 5
# Distance of samples outside the list below its lowest score: so large that they do
# not change a sum of exponentials, in float64 either.
_BELOW = 100.0
# The least squared distance with a gradient: that of a root is infinite at 0.
_CLOSEST = 1e-12


def cross_sample_ranking(
    student: Tensor,
    teacher: Tensor,
    *,
    mode: str = 'soft',
    scale: float = 3.0,
    power: float = 3.0,
    squared: bool = False,
    list_length: int | None = None,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Divergence of the rankings of each sample's nearest samples, sample by sample.

    .. math:: L^{soft}_q = \sum_\pi P^T(\pi) \log \frac{P^T(\pi)}{P^S(\pi)}, \qquad
        L^{hard}_q = -\log P^S(\pi^T)

    .. math:: P(\pi) = \prod_{i=1}^{L} \frac{e^{s(\pi_i)}}{\sum_{k=i}^L e^{s(\pi_k)}},
        \qquad s(x) = -\alpha \|e_q - e_x\|_2^\beta

    over the orders of the L samples that are nearest to q in the teacher, with rows of
    length 1; :math:`\pi^T` is the teacher's order. The samples of this process are
    compared with each other, so each value depends on the batch; that of 'hard' also
    depends on L. With fewer samples than L + 1 the lists are shorter; with fewer than
    three samples the loss is 0.

    Args:
        student: e, shape (R, D), one row a sample, any float dtype.
        teacher: shape (R, D'); no gradient is needed.
        mode: 'soft', over all orders, or 'hard', the teacher's order only, which is not
            0 where the two agree.
        scale: alpha, > 0.
        power: beta, > 0.
        squared: :math:`s = -(\alpha \|e_q - e_x\|_2^2)^\beta` instead, as in the
            released code, with a scale of 3.5 and a power of 2.
        list_length: L, >= 2; for 'soft' at most 5, because it sums over L! orders.
            Default: 4 for 'soft', all others for 'hard', as in the released code.
        mask: shape (R,), 1 keeps and 0 drops a sample, as q and as x.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples q.

    Returns: nats; a scalar, or shape (R,) for 'none'. A row of zeros has no direction:
        its distance from the others is 1, and it gets no gradient.
    Raises: ShapeError if the numbers of rows differ; ConfigError for invalid values.
    Source: Chen, Wang and Zhang, DarkRank: Accelerating Deep Metric Learning via Cross
        Sample Similarities Transfer, AAAI 2018, https://arxiv.org/abs/1707.01220. The
        released code takes the cross-entropy for 'soft', which adds the teacher's
        entropy and changes no gradient, and only the first half of its paired batch as
        q.

    Example:
        >>> import torch
        >>> embeddings = torch.eye(3)  # all equally far
        >>> cross_sample_ranking(embeddings, embeddings, mode='hard')
        tensor(0.6931)
    """
    check_samples(student, teacher)
    length = _checked_length(mode, list_length)
    check_float('scale', scale, strict=True)
    check_float('power', power, strict=True)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        kept = kept_rows(student, mask)
        student_scores, teacher_scores = (
            _scores(item, scale, power, squared) for item in (student, teacher)
        )
        others = max(len(kept) - 1, 0)
        length = others if length is None else min(length, others)
        diagonal = torch.eye(len(kept), dtype=torch.bool, device=kept.device)
        ranked = teacher_scores.detach().masked_fill(diagonal | ~kept, -torch.inf)
        # Stable: of equally near samples the first, on every device.
        order = ranked.argsort(dim=1, descending=True, stable=True)[:, :length]
        rank = torch.arange(length, device=kept.device)
        valid = (rank < kept.sum() - 1).expand(len(kept), length)
        student_scores, teacher_scores = (
            _in_list(item.gather(1, order), valid)
            for item in (student_scores, teacher_scores)
        )  # (R, L), the teacher's nearest first
        if mode == 'hard':
            each = -(_log_shares(student_scores) * valid).sum(dim=1)
        else:
            orders = torch.tensor(
                list(permutations(range(length))), dtype=torch.long, device=kept.device
            )
            log_student, log_teacher = (
                _log_shares(item[:, orders]).sum(dim=2)
                for item in (student_scores, teacher_scores)
            )  # (R, L!)
            each = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _checked_length(mode: str, list_length: int | None) -> int | None:
    """Length of the list; None: all other samples."""
    check_choice('mode', mode, MODES)
    check_optional_int('list_length', list_length, minimum=2)
    if mode == 'hard':
        return list_length
    length = SOFT_LENGTH if list_length is None else list_length
    if length > LONGEST_SOFT:
        raise ConfigError(
            f"list_length must be at most {LONGEST_SOFT} for mode='soft', which sums "
            f'over all orders of the list, got {length}. Shorten it, or set '
            "mode='hard'."
        )
    return length


def _scores(rows: Tensor, scale: float, power: float, squared: bool) -> Tensor:
    """Scores of each sample (column) for each query (row), shape (R, R)."""
    rows = unit_vectors(rescaled(rows))
    lengths = rows.square().sum(dim=1)
    distances = (lengths[:, None] + lengths - 2 * (rows @ rows.T)).clamp(min=_CLOSEST)
    if squared:
        return -((scale * distances) ** power)
    return -scale * distances ** (power / 2)


def _in_list(scores: Tensor, valid: Tensor) -> Tensor:
    """The scores; outside the list so low that they do not count."""
    if not scores.shape[1]:
        return scores
    lowest = scores.detach().masked_fill(~valid, torch.inf)
    below = torch.where(valid[:, :1], lowest.amin(1, keepdim=True), 0.0) - _BELOW
    return torch.where(valid, scores, below)


def _log_shares(scores: Tensor) -> Tensor:
    """Log softmax of each score among itself and the later ones, on the last axis."""
    tails = scores.flip(-1).logcumsumexp(dim=-1).flip(-1)
    return scores - tails


@LOSSES.register_module()
class DarkRankLoss(SampleLoss):
    """Weighted :func:`cross_sample_ranking`.

    A sample is a row (R, D), such as a RoI's embedding; of maps (N, C, H, W) it is the
    mean of an image, a pixel, or a class of an image. Batches of fewer than three
    images a GPU have no relations between images: use RoIs, 'pixel' or 'class'.

    Args:
        loss_weight: factor of the value, >= 0 (the released code: 16 for 'soft').
        sample: 'image', 'pixel', or 'class', which needs labels: view='seg.features'
            or 'seg.logits'.
        max_samples: the most samples of this process, >= 1; None: all. Memory grows
            with its square.

    Other arguments: as of :func:`cross_sample_ranking`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        mode: str = 'soft',
        scale: float = 3.0,
        power: float = 3.0,
        squared: bool = False,
        list_length: int | None = None,
        sample: str = 'image',
        max_samples: int | None = 512,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, sample, max_samples, reduction)
        _checked_length(mode, list_length)
        self.mode = mode
        self.list_length = list_length
        self.scale = check_float('scale', scale, strict=True)
        self.power = check_float('power', power, strict=True)
        self.squared = squared

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these samples; see :func:`cross_sample_ranking`."""
        samples = self.samples(student, teacher.detach(), target, mask, avg_factor)
        return self.loss_weight * cross_sample_ranking(
            samples.student,
            samples.teacher,
            mode=self.mode,
            scale=self.scale,
            power=self.power,
            squared=self.squared,
            list_length=self.list_length,
            mask=samples.mask,
            avg_factor=samples.avg_factor,
            reduction=self.reduction,
        )
