"""Focal and global distillation (FGD) of Yang et al. 2022."""

from collections.abc import Sequence

from torch import Tensor, nn

from kd_plugins.checks import check_float, check_same_shape
from kd_plugins.errors import ShapeError
from kd_plugins.losses._attention import channel_attention, spatial_attention
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._context import ContextBlock
from kd_plugins.losses._foreground import boxes_of, focal_masks
from kd_plugins.losses._levels import (
    block_at,
    blocks_by_level,
    check_channels,
    read_channels,
    zero_of_others,
)
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES


def focal_distance(
    student: Tensor,
    teacher: Tensor,
    boxes: Sequence[Tensor],
    input_size: Sequence[int],
    *,
    temperature: float = 0.5,
    foreground_weight: float = 1e-3,
    background_weight: float = 5e-4,
    attention_weight: float = 1e-3,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Distance of features, with foreground weights, and of their attention, by image.

    .. math:: L_n = \sum_{c,i,j} (\alpha M^f_{ij} + \beta M^b_{ij}) A^T_{ij} A^T_c
        (F^T_{cij} - F^S_{cij})^2 + \gamma \Big(\sum_{ij} |A^S_{ij} - A^T_{ij}| +
        \sum_c |A^S_c - A^T_c|\Big)

    A is the softmax of mean absolute activations over temperature, with a mean of 1:
    A_ij over pixels, of the mean over channels; A_c over channels, of the mean over
    pixels. M are the weight maps of :func:`focal_masks`.

    Args:
        student: feature after its adapter, shape (N, C, H, W), any float dtype.
        teacher: same shape; no gradient is needed.
        boxes: as of :func:`focal_masks`, one tensor for each image.
        input_size: as of :func:`focal_masks`.
        temperature: of the attention, > 0 (0.8 for FCOS in the paper).
        foreground_weight: alpha.
        background_weight: beta.
        attention_weight: gamma (5e-4 in the released RetinaNet configuration).
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: sums over channels and pixels, as in the paper, so they grow with both; a
        scalar, or shape (N,) for 'none'.
    Raises: ShapeError if the shapes differ, or for boxes of other images.
    Source: Yang et al., Focal and Global Knowledge Distillation for Detectors,
        CVPR 2022, https://arxiv.org/abs/2111.11837. Author code:
        https://github.com/yzd-v/FGD.

    Example:
        >>> import torch
        >>> teacher = torch.zeros(1, 1, 1, 2)
        >>> box = torch.tensor([[0.0, 0.0, 16.0, 8.0]])
        >>> focal_distance(teacher + 3, teacher, [box], (8, 16), foreground_weight=1.0)
        tensor(9.)
    """
    check_same_shape(student, teacher, layout='NCHW')
    check_float('temperature', temperature, strict=True)
    if len(boxes) != len(student):
        raise ShapeError(
            f'boxes must be one tensor for each of {len(student)} images, got '
            f'{len(boxes)}.'
        )
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        student_attention, teacher_attention = (
            (spatial_attention(item, temperature), channel_attention(item, temperature))
            for item in (student, teacher)
        )
        spatial, channel = teacher_attention
        boxes = [item.to(student) for item in boxes]
        masks = focal_masks(boxes, input_size, student.shape[2:])
        foreground, background = (item.to(student)[:, None] for item in masks)
        weights = foreground_weight * foreground + background_weight * background
        weighted = (teacher - student).square() * spatial * channel * weights
        per_image = weighted.flatten(1).sum(dim=1)
        for item, target in zip(student_attention, teacher_attention, strict=True):
            distance = (item - target).abs().flatten(1).sum(dim=1)
            per_image = per_image + attention_weight * distance
        return reduce_loss(per_image, reduction, mask=mask, avg_factor=avg_factor)


def global_distance(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Squared distance between features with their global context.

    Args:
        student: output of the student's context block, shape (N, C, H, W).
        teacher: output of the teacher's context block, same shape.
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: a sum over channels and pixels, so it grows with both; a scalar, or shape
        (N,) for 'none'.
    Raises: ShapeError if the shapes differ.
    Source: as of :func:`focal_distance`, L_global.

    Example:
        >>> import torch
        >>> global_distance(torch.ones(2, 3, 1, 2), torch.zeros(2, 3, 1, 2))
        tensor(6.)
    """
    check_same_shape(student, teacher, layout='NCHW')
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        per_image = (student - teacher).square().flatten(1).sum(dim=1)
        return reduce_loss(per_image, reduction, mask=mask, avg_factor=avg_factor)


class _ContextBlocks(nn.Module):
    """The student's block and the teacher's, both trained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.student = ContextBlock(channels)
        self.teacher = ContextBlock(channels)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        return self.student(student), self.teacher(teacher)


@LOSSES.register_module()
class FGDLoss(DistillationLoss):
    """Weighted :func:`focal_distance` plus :func:`global_distance`.

    It needs the boxes of the ground truth. Each level has its own context blocks. The
    student's optimiser trains them, and an export leaves them out. A pair takes the
    mean over its levels; the paper takes the sum: ``loss_weight=5`` for five levels.

    Args:
        loss_weight: factor of the value, >= 0.
        channels: C of the features, >= 2; default: that of the pair.
        levels: number of the pair's levels, or a list such as ``[1, 2]``; default:
            those of the pair.
        context_weight: factor of :func:`global_distance`, >= 0.

    Other arguments: as of :func:`focal_distance`. The default weights (foreground,
    background, attention, context) are the paper's for RetinaNet. For FCOS and
    RepPoints it takes 1.6e-3, 8e-4, 8e-4 and 8e-6; for two-stage detectors 5e-5,
    2.5e-5, 5e-5 and 5e-7.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        channels: int = 256,
        levels: int | Sequence[int] = 1,
        temperature: float = 0.5,
        foreground_weight: float = 1e-3,
        background_weight: float = 5e-4,
        attention_weight: float = 1e-3,
        context_weight: float = 5e-6,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.channels = read_channels(channels, minimum=2)
        self.blocks = blocks_by_level(levels, lambda _: _ContextBlocks(channels))
        self.temperature = check_float('temperature', temperature, strict=True)
        self.foreground_weight = check_float('foreground_weight', foreground_weight)
        self.background_weight = check_float('background_weight', background_weight)
        self.attention_weight = check_float('attention_weight', attention_weight)
        self.context_weight = check_float('context_weight', context_weight)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these images; see :func:`focal_distance`.

        The boxes, the input's size and the level come from ``context``.

        Raises: ShapeError if the shapes differ, for other channels, or without boxes;
            ConfigError for a level without blocks.
        """
        check_same_shape(student, teacher, layout='NCHW')
        check_channels(student, self.channels)
        block = block_at(self.blocks, context)
        boxes, input_size = boxes_of(context, len(student))
        with float32_rows(student, teacher.detach(), mask=mask) as (student, teacher):
            focal = focal_distance(
                student,
                teacher,
                boxes,
                input_size,
                temperature=self.temperature,
                foreground_weight=self.foreground_weight,
                background_weight=self.background_weight,
                attention_weight=self.attention_weight,
                mask=mask,
                avg_factor=avg_factor,
                reduction=self.reduction,
            )
            context_distance = global_distance(
                *block(student, teacher),
                mask=mask,
                avg_factor=avg_factor,
                reduction=self.reduction,
            )
            value = focal + self.context_weight * context_distance
        return self.loss_weight * (value + zero_of_others(self.blocks, block))
