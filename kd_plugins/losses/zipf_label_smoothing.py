"""Zipf's label smoothing, of Liang et al. 2022."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_choice, check_float, check_optional_int
from kd_plugins.errors import ConfigError
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._logits import class_numbers, split_target
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.losses._teacher_free import check_softmax, labelled_rows
from kd_plugins.registry import LOSSES

RANKED = ('all', 'others')


def zipf_divergence(
    student: Tensor,
    *,
    target: Tensor | None,
    power: float = 1.0,
    window: int | None = 7,
    ranked: str = 'all',
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Divergence of the classes other than the label's from a Zipf distribution.

    .. math:: L_i = \mathrm{KL}(t_i \,\|\, q_i), \quad
        t_{i,c} = \frac{r_{i,c}^{-\alpha}}{\sum_{k \ne y} r_{i,k}^{-\alpha}}, c \ne y

    with q the softmax over the classes other than the label's, and r the rank of a
    class in the student's own eyes, without gradient; classes of one score share a
    rank. Of maps, the classes are ranked by the votes of the pixels around: how many of
    them have it as their first; elsewhere, by the logits of the row.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        target: labels, shape (M,) or (N, H, W), whole numbers below K of any dtype.
        power: the exponent, > 0, no unit; larger is more peaked.
        window: of maps, height and width of the neighbourhood that votes, in pixels,
            odd; None: the logits of the pixel alone.
        ranked: 'all': ranks among all classes, the label's own then left out, so that
            its rank may be missing; 'others': ranks among the other classes.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row, and its vote.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'. Of two classes it is 0.
    Raises: ShapeError for shapes that do not fit, without target, and for a single
        column; ConfigError for invalid options; DistillationError for other labels.
    Source: Liang et al., Efficient One Pass Self-distillation with Zipf's Label
        Smoothing, ECCV 2022, https://arxiv.org/abs/2207.12980. Author code:
        https://github.com/megvii-research/zipfls, which ranks as 'all' (a second helper
        there as 'others'). There the places of a feature map vote for the one label of
        an image; the neighbourhood of a labelled pixel is our dense form.

    Example:
        >>> student = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
        >>> zipf_divergence(student, target=torch.tensor([0]), ranked='others')
        tensor(0.0490)
    """
    check_float('power', power, strict=True)
    check_window(window)
    check_choice('ranked', ranked, RANKED)
    rows = labelled_rows(student, target, mask, "Zipf's label smoothing")
    votes = rows.logits
    if window is not None and student.dim() == 4:
        votes = votes_around(student, window, mask)
    given = (rows.logits, rows.labels, votes.detach())
    with float32_rows(*given, mask=rows.mask) as (logits, labels, scores):
        labels = class_numbers(labels, logits.shape[1] - 1)
        zipf = zipf_probs(scores, labels, power, ranked)
        _, others = split_target(logits, labels)
        each = (zipf * (zipf.log() - others.log_softmax(dim=1))).sum(dim=1)
        return reduce_loss(each, reduction, mask=rows.mask, avg_factor=avg_factor)


def check_window(window: int | None) -> int | None:
    """The value, if it is odd, or None.

    Raises: ConfigError otherwise.
    """
    if window is not None and check_optional_int('window', window) and not window % 2:
        raise ConfigError(f'window must be an odd number of pixels, got {window}.')
    return window


def votes_around(maps: Tensor, window: int, mask: Tensor | None) -> Tensor:
    """Share of the pixels around each pixel whose first class it is: (N H W, K).

    Args:
        maps: logits (N, K, H, W).
        window: height and width of the neighbourhood, odd.
        mask: (N, H, W); a pixel that it drops has no vote.

    Example:
        >>> votes_around(torch.tensor([[[[2.0, 0.0, 2.0]], [[1.0] * 3]]]), 3, None)
        tensor([[0.1111, 0.1111],
                [0.2222, 0.1111],
                [0.1111, 0.1111]])
    """
    classes = torch.arange(maps.shape[1], device=maps.device).view(1, -1, 1, 1)
    firsts = maps.argmax(dim=1, keepdim=True) == classes  # (N, K, H, W)
    if mask is not None:
        firsts = firsts & (mask > 0)[:, None]
    counted = F.avg_pool2d(firsts.float(), window, stride=1, padding=window // 2)
    return counted.movedim(1, 3).flatten(0, 2)


def zipf_probs(
    scores: Tensor, labels: Tensor, power: float = 1.0, ranked: str = 'all'
) -> Tensor:
    """Zipf distribution over the classes other than the label's.

    Args:
        scores: by which classes are ranked, the highest first, shape (M, K).
        labels: shape (M,), whole numbers below K.
        power: the exponent.
        ranked: 'all' or 'others', as of :func:`zipf_divergence`.

    Returns: shape (M, K - 1), in the order of the classes.

    Example:
        >>> zipf_probs(torch.tensor([[9.0, 5.0, 2.0, 2.0]]), torch.tensor([0]))
        tensor([[0.4286, 0.2857, 0.2857]])
    """
    if ranked == 'all':
        _, ranks = split_target(ranks_of(scores), labels)
    else:
        ranks = ranks_of(split_target(scores, labels)[1])
    weights = ranks.to(scores.dtype).pow(-power)
    return weights / weights.sum(dim=1, keepdim=True)


def ranks_of(scores: Tensor) -> Tensor:
    """Rank of each score in its row, from 1, the highest first; equal ones share it.

    Example:
        >>> ranks_of(torch.tensor([[5.0, 7.0, 5.0, 1.0]]))
        tensor([[2, 1, 2, 4]])
    """
    ascending = scores.sort(dim=1).values
    not_greater = torch.searchsorted(ascending, scores.contiguous(), right=True)
    return scores.shape[1] - not_greater + 1


@LOSSES.register_module()
class ZipfLabelSmoothingLoss(DistillationLoss):
    """Weighted :func:`zipf_divergence`, without a teacher.

    The paper's weights: 0.1 for CIFAR-100 and ImageNet, 1 for TinyImageNet and
    iNaturalist; the power is 1.

    Args:
        loss_weight: factor of the value, >= 0.

    Other arguments: as of :func:`zipf_divergence`.
    Raises: ConfigError for invalid values, and for logits of a sigmoid.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        power: float = 1.0,
        window: int | None = 7,
        ranked: str = 'all',
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.power = check_float('power', power, strict=True)
        self.window = check_window(window)
        self.ranked = check_choice('ranked', ranked, RANKED)

    def forward(
        self,
        student: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`zipf_divergence`."""
        check_softmax(context, 'ZipfLabelSmoothingLoss')
        return self.loss_weight * zipf_divergence(
            student,
            target=target,
            power=self.power,
            window=self.window,
            ranked=self.ranked,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
