"""Feature-based distillation of detectors (FBKD) of Zhang and Ma 2021."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from kd_plugins.checks import check_choice, check_float, check_same_shape
from kd_plugins.errors import ConfigError
from kd_plugins.losses._attention import channel_attention, spatial_attention
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._context import NonLocalBlock
from kd_plugins.losses._levels import (
    block_at,
    blocks_by_level,
    check_channels,
    number_at,
    read_channels,
    zero_of_others,
)
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES

NORMS_OVER = ('image', 'batch')
# An adapted tensor of the student, and the teacher's tensor of the same shape.
Compared = tuple[Tensor, Tensor]


def feature_based_distance(
    student: Tensor,
    teacher: Tensor,
    adapt: Callable[[Tensor, Tensor], Iterable[Compared]],
    *,
    temperature: float = 0.5,
    use_channel_mask: bool = True,
    norm_over: str = 'image',
    masked_weight: float = 7e-5,
    attention_weight: float = 4e-3,
    non_local_weight: float = 7e-5,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Distance of features where both attend, of their attention and their relations.

    .. math:: L_n = \alpha \Big(\sum_{c,i,j} M_{ij} M_c
        (F^T_{cij} - f(F^S)_{cij})^2\Big)^{1/2}
        + \beta \big(\|a^T - g(a^S)\|_2 + \|A^T - h(A^S)\|_2\big)
        + \gamma \|r^T(F^T) - u(r^S(F^S))\|_2

    a is the mean of a feature over its pixels, A that over its channels, r a non-local
    block. M is the mean of the student's and the teacher's softmax of mean absolute
    activations over temperature, each with a mean of 1, over pixels (M_ij) and over
    channels (M_c). M takes no gradient.

    Args:
        student: feature after the pair's adapter, shape (N, C, H, W), any float dtype.
        teacher: same shape; no gradient is needed.
        adapt: f, g, h, u and r: from student and teacher to the four pairs of tensors
            to compare, in the order of the formula.
        temperature: of M, > 0.
        use_channel_mask: use M_c, as in the paper; the released code can compute it,
            and uses M_ij only.
        norm_over: 'image', as in the paper; or 'batch', as in the code: over all images
            together, so the value grows with the root of their number and is no mean.
        masked_weight: alpha.
        attention_weight: beta.
        non_local_weight: gamma.
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept. It
            has no effect on norms over the batch.
        reduction: 'none', 'mean' or 'sum', over images; for norms over the batch 'mean'
            and 'sum' are equal, and 'none' is refused.

    Returns: norms, as in the paper, so they grow with the root of channels and pixels;
        a scalar, or shape (N,) for 'none'.
    Raises: ShapeError if the shapes differ; ConfigError for invalid values.
    Source: Zhang and Ma, Improve Object Detection with Feature-based Knowledge
        Distillation, ICLR 2021, https://openreview.net/forum?id=uKhGRvM8QNH. The code's
        choices are those of a port that cites the authors' source.

    Example:
        >>> import torch
        >>> same = lambda student, teacher: 4 * [(student, teacher)]
        >>> student, teacher = torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)
        >>> options = dict(masked_weight=1, attention_weight=0, non_local_weight=0)
        >>> feature_based_distance(student, teacher, same, **options)
        tensor(4.)
    """
    check_same_shape(student, teacher, layout='NCHW')
    check_float('temperature', temperature, strict=True)
    check_choice('norm_over', norm_over, NORMS_OVER)
    _check_reduction(norm_over, reduction)
    weights = (masked_weight, attention_weight, attention_weight, non_local_weight)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        attention = _common_attention(student, teacher, temperature, use_channel_mask)
        differences = [
            teacher_item - student_item
            for student_item, teacher_item in adapt(student, teacher)
        ]
        differences[0] = differences[0] * attention.sqrt()  # the norm squares it
        total = student.new_zeros(())
        for weight, difference in zip(weights, differences, strict=True):
            # Not a root of a sum: its gradient at 0 is infinite; here it is 0.
            norms = torch.linalg.vector_norm(difference.flatten(1), dim=1)
            if norm_over == 'batch':
                kept = norms if mask is None else norms * mask.to(norms)
                norms = torch.linalg.vector_norm(kept)
            total = total + weight * norms
        if norm_over == 'batch':
            return total
        return reduce_loss(total, reduction, mask=mask, avg_factor=avg_factor)


def _check_reduction(norm_over: str, reduction: str) -> None:
    if norm_over == 'batch' and reduction == 'none':
        raise ConfigError(
            "norm_over='batch' gives no value for each image, as reduction='none' "
            "needs. Set norm_over='image'."
        )


@torch.no_grad()
def _common_attention(
    student: Tensor, teacher: Tensor, temperature: float, use_channel_mask: bool
) -> Tensor:
    """Mean attention of both, shape (N, 1, H, W), or (N, C, H, W) with channels."""
    pixels = spatial_attention(student, temperature)
    pixels = (pixels + spatial_attention(teacher, temperature)) / 2
    if not use_channel_mask:
        return pixels
    channels = channel_attention(student, temperature)
    return pixels * (channels + channel_attention(teacher, temperature)) / 2


class _Adaptation(nn.Module):
    """Trained for each level: adaptations of the student, and two non-local blocks."""

    def __init__(self, channels: int, reduction: int, pool: int) -> None:
        super().__init__()
        self.feature = nn.Conv2d(channels, channels, kernel_size=1)
        self.channels = nn.Linear(channels, channels)
        self.pixels = nn.Conv2d(1, 1, kernel_size=3, padding=1)
        self.relations = nn.Conv2d(channels, channels, kernel_size=1)
        self.student = NonLocalBlock(channels, reduction, pool)
        self.teacher = NonLocalBlock(channels, reduction, pool)

    def forward(self, student: Tensor, teacher: Tensor) -> list[Compared]:
        return [
            (self.feature(student), teacher),
            (self.channels(student.mean(dim=(2, 3))), teacher.mean(dim=(2, 3))),
            (
                self.pixels(student.mean(dim=1, keepdim=True)),
                teacher.mean(dim=1, keepdim=True),
            ),
            (self.relations(self.student(student)), self.teacher(teacher)),
        ]


@LOSSES.register_module()
class FBKDLoss(DistillationLoss):
    """Weighted :func:`feature_based_distance`.

    Each level has its own adaptations and non-local blocks. The student's optimiser
    trains them, and an export leaves them out. A pair takes the mean over its levels;
    the paper takes the sum: ``loss_weight=4`` for four levels.

    Args:
        loss_weight: factor of the value, >= 0.
        channels: C of the features, >= 1; default: that of the pair.
        levels: number of the pair's levels, or a list such as ``[1, 2]``; default:
            those of the pair.
        non_local_reductions: divisor of the channels in the non-local blocks, one for
            each level, >= 1; further levels take the last. The defaults are the code's,
            for strides from 4 on.
        non_local_pools: side of the pooled squares of pixels, likewise.

    Other arguments: as of :func:`feature_based_distance`. The default weights are those
    for two-stage detectors.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        channels: int = 256,
        levels: int | Sequence[int] = 1,
        non_local_reductions: Sequence[int] = (4, 4, 2),
        non_local_pools: Sequence[int] = (8, 4, 2),
        temperature: float = 0.5,
        use_channel_mask: bool = True,
        norm_over: str = 'image',
        masked_weight: float = 7e-5,
        attention_weight: float = 4e-3,
        non_local_weight: float = 7e-5,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.channels = read_channels(channels)
        reduction_at = number_at('non_local_reductions', non_local_reductions)
        pool_at = number_at('non_local_pools', non_local_pools)
        self.blocks = blocks_by_level(
            levels,
            lambda index: _Adaptation(channels, reduction_at(index), pool_at(index)),
        )
        self.temperature = check_float('temperature', temperature, strict=True)
        self.use_channel_mask = use_channel_mask
        self.norm_over = check_choice('norm_over', norm_over, NORMS_OVER)
        _check_reduction(norm_over, reduction)
        self.masked_weight = check_float('masked_weight', masked_weight)
        self.attention_weight = check_float('attention_weight', attention_weight)
        self.non_local_weight = check_float('non_local_weight', non_local_weight)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these images at this level; see :func:`feature_based_distance`.

        Raises: ShapeError if the shapes differ, or for other channels; ConfigError for
            a level without blocks.
        """
        check_same_shape(student, teacher, layout='NCHW')
        check_channels(student, self.channels)
        block = block_at(self.blocks, context)
        distance = feature_based_distance(
            student,
            teacher.detach(),
            block,
            temperature=self.temperature,
            use_channel_mask=self.use_channel_mask,
            norm_over=self.norm_over,
            masked_weight=self.masked_weight,
            attention_weight=self.attention_weight,
            non_local_weight=self.non_local_weight,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
        return self.loss_weight * (distance + zero_of_others(self.blocks, block))
