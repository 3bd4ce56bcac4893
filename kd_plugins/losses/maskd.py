"""Masked distillation with receptive tokens (MasKD) of Huang et al. 2023."""

from pathlib import Path

import torch
from torch import Tensor

from kd_plugins.checks import (
    check_mask,
    check_optional_int,
    check_pixel_mask,
    check_same_shape,
)
from kd_plugins.errors import ConfigError, ShapeError, located
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.losses._tokens import ReceptiveTokens, tokens_by_level
from kd_plugins.registry import LOSSES

# Smallest sum of a mask over its pixels: the product of a student's and a teacher's
# mask may be empty, and then so is its error.
_SMALLEST_AREA = 1e-5
# For two masks that are 0 everywhere.
_DICE_EPS = 1e-12


def masked_distance(
    student: Tensor,
    teacher: Tensor,
    masks: Tensor,
    *,
    weights: Tensor | None = None,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared distance of two features under masks, mask by mask.

    .. math:: L_n = \sum_t p_t \frac{1}{C} \sum_c
        \frac{\sum_i M_{t,i}^2 (F^S - F^T)_{c,i}^2}{\sum_i M_{t,i}}

    A mask multiplies both features, and so enters squared.

    Args:
        student: feature after its adapter, or logits, shape (N, C, H, W), any float
            dtype.
        teacher: same shape; no gradient is needed.
        masks: M, between 0 and 1, shape (N, n, H, W).
        weights: p of each mask, shape (N, n); default 1/n.
        mask: shape (N,), 1 keeps and 0 drops an image; or (N, H, W), of pixels: dropped
            pixels are in none of the masks, and the weight of an image is the share of
            its kept pixels.
        avg_factor: number of images 'mean' divides by, or of pixels for a mask of
            pixels; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: a scalar, or shape (N,) for 'none'.
    Raises: ShapeError if the shapes differ.
    Source: Huang et al., Masked Distillation with Receptive Tokens, ICLR 2023,
        https://arxiv.org/abs/2205.14589. The authors' code for segmentation takes half
        of it: a ``loss_weight`` of 0.5.

    Example:
        >>> import torch
        >>> student, teacher = torch.full((1, 2, 1, 2), 3.0), torch.zeros(1, 2, 1, 2)
        >>> masked_distance(student, teacher, torch.tensor([[[[1.0, 0.0]]]]))
        tensor(9.)
    """
    check_same_shape(student, teacher, layout='NCHW')
    images, _, height, width = student.shape
    if masks.dim() != 4 or (len(masks), *masks.shape[2:]) != (images, height, width):
        raise ShapeError(
            f'masks must be ({images}, n, {height}, {width}), got {tuple(masks.shape)}.'
        )
    if weights is None:
        count = masks.shape[1]
        weights = masks.new_full((images, count), 1 / count)
    if weights.shape != masks.shape[:2]:
        raise ShapeError(
            f'weights must be {tuple(masks.shape[:2])}, one number per mask, got '
            f'{tuple(weights.shape)}.'
        )
    student, teacher, masks = (_kept(item, mask) for item in (student, teacher, masks))
    if mask is not None and mask.dim() == 3:
        mask = mask.float().mean(dim=(1, 2))
        avg_factor = None if avg_factor is None else avg_factor / (height * width)
    with float32_rows(student, teacher, masks, weights, mask=mask) as rows:
        student, teacher, masks, weights = rows
        masks, weights = masks.to(student), weights.to(student)
        error = (student - teacher).square().mean(dim=1)  # (N, H, W)
        masked = torch.einsum('nthw,nhw->nt', masks.square(), error)
        area = masks.sum(dim=(2, 3)).clamp(min=_SMALLEST_AREA)
        per_image = (weights * masked / area).sum(dim=1)
        return reduce_loss(per_image, reduction, mask=mask, avg_factor=avg_factor)


def mask_overlap(masks: Tensor) -> Tensor:
    r"""Mean Dice coefficient of any two masks of a feature.

    .. math:: \frac{1}{n (n - 1)} \sum_{s \ne t}
        \frac{2 \sum_i M_{s,i} M_{t,i}}{\sum_i M_{s,i}^2 + \sum_i M_{t,i}^2}

    Args:
        masks: shape (N, n, H, W).

    Returns: scalar, the mean over images; between 0 (disjoint) and 1 (all the same); 0
        of a single mask.
    Source: as of :func:`masked_distance`; it keeps the tokens different in training.

    Example:
        >>> import torch
        >>> mask_overlap(torch.eye(2).view(1, 2, 1, 2))
        tensor(0.)
    """
    with float32_rows(masks) as (masks,):
        pixels = masks.flatten(2)
        shared = pixels @ pixels.transpose(1, 2)  # (N, n, n)
        squares = shared.diagonal(dim1=1, dim2=2)
        dice = 2 * shared / (squares.unsqueeze(1) + squares.unsqueeze(2) + _DICE_EPS)
        pairs = dice.sum(dim=(1, 2)) - dice.diagonal(dim1=1, dim2=2).sum(dim=1)
        count = masks.shape[1]
        return reduce_loss(pairs / max(count * (count - 1), 1))


def _kept(maps: Tensor, mask: Tensor | None) -> Tensor:
    """The maps (N, C, H, W), with 0 in dropped images or pixels."""
    if mask is None:
        return maps
    if mask.dim() == 3:
        check_pixel_mask(mask, maps)
    else:
        check_mask(mask, len(maps))
    dropped = (mask <= 0).view(len(maps), 1, *(mask.shape[1:] or (1, 1)))
    return maps.masked_fill(dropped, 0.0)


@LOSSES.register_module()
class MasKDLoss(DistillationLoss):
    """Weighted :func:`masked_distance`, with masks that were learned on the teacher.

    The method has two stages. The first is a separate training, of a model of type
    ``kd_plugins.MaskLearner``; this loss is the second. Its tokens are frozen and in no
    checkpoint. The first training step reads their file. The levels of a pair are those
    of the teacher's layer.

    Args:
        tokens: checkpoint of the first stage: a file, a URL or ``kd_plugins::...``.
        loss_weight: factor of the value, >= 0 (the authors: 1 for two-stage detectors,
            7 for a RetinaNet under a ResNeXt-101; for segmentation 1 on the logits and
            0.4 on the auxiliary ones, of which their code takes half).
        learned_as: name of the tokens in ``masks`` of the first stage; default: that of
            the pair.
        customize_after: iteration from which the student's feature contributes to the
            masks: a mask is then the product of the token's masks on the teacher's and
            on the student's feature, and takes no gradient (the authors: 7330 for
            detectors, an epoch of COCO; never for segmentation). Default: never.

    Other arguments: as of :func:`masked_distance`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        tokens: str,
        loss_weight: float = 1.0,
        learned_as: str | None = None,
        customize_after: int | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        if not isinstance(tokens, (str, Path)):
            raise ConfigError(
                'tokens must be the path of a checkpoint of kd_plugins.MaskLearner, '
                f'got {tokens!r}.'
            )
        self.tokens = str(tokens)
        if not isinstance(learned_as, str | None):
            raise ConfigError(
                f'learned_as must be a text, or None, got {learned_as!r}.'
            )
        self.learned_as = learned_as
        self.customize_after = check_optional_int('customize_after', customize_after, 0)
        # Not modules: they are not in the state_dict and not trained.
        self._tokens_by_level: dict[int, ReceptiveTokens] = {}

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these images at this level; see :func:`masked_distance`.

        Raises: CheckpointError if the file has no such tokens; ConfigError for a level
            without tokens, or for ``customize_after`` without an iteration;
            ShapeError if the shapes differ, or for other channels.
        """
        check_same_shape(student, teacher, layout='NCHW')
        context = context or LossContext()
        if context.dry_run:  # the file may not exist yet
            return self.loss_weight * (student - teacher).square().mean()
        tokens = self._tokens_at(context, teacher)
        features = (_kept(item.detach(), mask) for item in (student, teacher))
        with float32_rows(*features) as (student_feature, teacher_feature):
            tokens.to(teacher_feature)
            masks = tokens.masks(teacher_feature)
            weights = tokens.weights(teacher_feature)
            if self._customized(context):
                masks = masks * tokens.masks(student_feature)
        return self.loss_weight * masked_distance(
            student,
            teacher.detach(),
            masks,
            weights=weights,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )

    def _customized(self, context: LossContext) -> bool:
        if not self.customize_after:
            return self.customize_after == 0
        if context.step.iteration is None:
            raise ConfigError(
                f'customize_after={self.customize_after}, and the iteration is '
                "unknown. Set runner_type='kd_plugins.DistillRunner', as "
                'configs/_base_/distill.py does.'
            )
        return context.step.iteration >= self.customize_after

    def _tokens_at(self, context: LossContext, teacher: Tensor) -> ReceptiveTokens:
        """The tokens of the level that the tensors come from."""
        name = self.learned_as or context.pair
        if not self._tokens_by_level:
            with located('loss.tokens'):
                self._tokens_by_level = tokens_by_level(self.tokens, name)
        level = context.teacher_level
        if level is None:
            level = context.level
        if level is None and len(self._tokens_by_level) == 1:
            (level,) = self._tokens_by_level
        if level not in self._tokens_by_level:
            shown = ', '.join(map(str, self._tokens_by_level))
            raise ConfigError(
                f"'{self.tokens}' has masks '{name}' for level {shown}, none for level "
                f'{level}. Learn them on the layer that this pair compares, or choose '
                'its levels.',
                key='loss.tokens',
            )
        tokens = self._tokens_by_level[level]
        channels = tokens.tokens.shape[1]
        if teacher.shape[1] != channels:
            raise ShapeError(
                f"'{self.tokens}' has masks '{name}' for {channels} channels, and "
                f'teacher {tuple(teacher.shape)} has {teacher.shape[1]}. Learn them on '
                "this pair's teacher and layer, and set loss.tokens to that file."
            )
        return tokens
