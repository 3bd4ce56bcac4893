"""Masked distillation with receptive tokens (MasKD) of Huang et al. 2023."""

from pathlib import Path

import torch
from torch import Tensor

from kd_plugins.checks import check_int, check_mask, check_pixel_mask, check_same_shape
from kd_plugins.errors import ConfigError, ShapeError, located
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.losses._tokens import ReceptiveTokens, tokens_by_level
from kd_plugins.registry import LOSSES

# Of a mask over its places: masks of student and teacher that nowhere agree are empty,
# and then so is the error that they see.
_SMALLEST_AREA = 1e-5
# Of two masks that are 0 everywhere.
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
    r"""Squared distance of two features where masks look, mask by mask.

    .. math:: L_n = \sum_t p_t \frac{1}{C} \sum_c
        \frac{\sum_i M_{t,i}^2 (F^S - F^T)_{c,i}^2}{\sum_i M_{t,i}}

    A mask multiplies both features, and so enters squared.

    Args:
        student: feature after its adapter, or logits, shape (N, C, H, W), any float
            dtype.
        teacher: same shape; no gradient is needed.
        masks: M, between 0 and 1, shape (N, n, H, W).
        weights: p, how much each counts, shape (N, n); default 1/n.
        mask: shape (N,), 1 keeps and 0 drops an image; or (N, H, W), of pixels: those
            dropped are in none of the masks, and an image counts by the share it keeps.
        avg_factor: number of images 'mean' divides by, or of pixels where the mask is
            one of pixels; default those kept.
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
        student, teacher, *told = rows
        masks, weights = (item.to(student) for item in told)
        error = (student - teacher).square().mean(dim=1)  # (N, H, W)
        seen = torch.einsum('nthw,nhw->nt', masks.square(), error)
        area = masks.sum(dim=(2, 3)).clamp(min=_SMALLEST_AREA)
        per_image = (weights * seen / area).sum(dim=1)
        return reduce_loss(per_image, reduction, mask=mask, avg_factor=avg_factor)


def mask_overlap(masks: Tensor) -> Tensor:
    r"""How much the masks of a feature are alike: the mean Dice coefficient of any two.

    .. math:: \frac{1}{n (n - 1)} \sum_{s \ne t}
        \frac{2 \sum_i M_{s,i} M_{t,i}}{\sum_i M_{s,i}^2 + \sum_i M_{t,i}^2}

    Args:
        masks: shape (N, n, H, W).

    Returns: scalar, the mean over images; between 0 (disjoint) and 1 (all the same); 0
        of a single mask.
    Source: as :func:`masked_distance`; what keeps tokens apart while they learn.

    Example:
        >>> import torch
        >>> mask_overlap(torch.eye(2).view(1, 2, 1, 2))
        tensor(0.)
    """
    with float32_rows(masks) as (masks,):
        places = masks.flatten(2)
        shared = places @ places.transpose(1, 2)  # (N, n, n)
        own = shared.diagonal(dim1=1, dim2=2)
        dice = 2 * shared / (own.unsqueeze(1) + own.unsqueeze(2) + _DICE_EPS)
        others = dice.sum(dim=(1, 2)) - dice.diagonal(dim1=1, dim2=2).sum(dim=1)
        count = masks.shape[1]
        return reduce_loss(others / max(count * (count - 1), 1))


def _kept(maps: Tensor, mask: Tensor | None) -> Tensor:
    """The maps (N, C, H, W) with 0 where a mask drops the image or the pixel."""
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
    """Weighted :func:`masked_distance`, by masks that were learned on the teacher.

    The first of its two stages is a training of its own, of a model of type
    ``kd_plugins.MaskLearner``; this is the second. The tokens are the teacher's: they
    learn no more, are in no checkpoint, and their file is read at the first training
    step. Levels of a pair have the numbers that they have in the teacher's layer.

    Args:
        tokens: checkpoint of the first stage: a file, a URL or ``kd_plugins::...``.
        loss_weight: factor of the value, >= 0 (the authors: 1 for two-stage detectors,
            7 for a RetinaNet under a ResNeXt-101; for segmentation 1 on the logits and
            0.4 on the auxiliary ones, of which their code takes half).
        learned_as: under which name of ``masks`` they were learned; left out, that of
            the pair.
        customize_after: from which iteration on a mask is also the student's own: the
            teacher's times that of the same token on the student's feature, through
            which no gradient flows (the authors: 7330 for detectors, an epoch of COCO;
            never for segmentation). Left out: never.
        reduction: as in :func:`masked_distance`.

    Raises: ConfigError for values that cannot be.
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
        self.learned_as = learned_as
        self.customize_after = check_int('customize_after', customize_after, 0)
        # Not as modules: they are in no state_dict, nor trained.
        self._learned: dict[int, ReceptiveTokens] = {}

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
            that it lacks, or where nobody tells the iteration that is waited for;
            ShapeError if the shapes differ, or for other channels.
        """
        check_same_shape(student, teacher, layout='NCHW')
        context = context or LossContext()
        if context.dry_run:  # the file need not be there yet
            return self.loss_weight * (student - teacher).square().mean()
        learned = self._tokens_at(context, teacher)
        both = (_kept(item.detach(), mask) for item in (student, teacher))
        with float32_rows(*both) as (own, seen):
            learned.to(seen)
            masks, weights = learned.masks(seen), learned.weights(seen)
            if self._customized(context):
                masks = masks * learned.masks(own)
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
                f'customize_after={self.customize_after}, and nobody tells the '
                "iteration. Set runner_type='kd_plugins.DistillRunner', as "
                'configs/_base_/distill.py does.'
            )
        return context.step.iteration >= self.customize_after

    def _tokens_at(self, context: LossContext, teacher: Tensor) -> ReceptiveTokens:
        """Those of the level that the tensors come from."""
        name = self.learned_as or context.pair
        if not self._learned:
            with located('loss.tokens'):
                self._learned = tokens_by_level(self.tokens, name)
        level = context.teacher_level
        if level is None:
            level = context.level
        if level is None and len(self._learned) == 1:
            (level,) = self._learned
        if level not in self._learned:
            shown = ', '.join(map(str, self._learned))
            raise ConfigError(
                f"'{self.tokens}' has masks '{name}' for level {shown}, none for level "
                f'{level}. Learn them on the layer that this pair compares, or choose '
                'its levels.',
                key='loss.tokens',
            )
        learned = self._learned[level]
        channels = learned.tokens.shape[1]
        if teacher.shape[1] != channels:
            raise ShapeError(
                f"'{self.tokens}' has masks '{name}' for {channels} channels, and "
                f'teacher {tuple(teacher.shape)} has {teacher.shape[1]}. Learn them on '
                "this pair's teacher and layer, and set loss.tokens to that file."
            )
        return learned
