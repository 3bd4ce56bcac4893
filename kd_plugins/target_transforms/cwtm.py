"""Confidence weighted by teacher max, of Furlanello et al. 2018."""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from kd_plugins.checks import check_mask, check_pixel_mask
from kd_plugins.losses import LossContext
from kd_plugins.losses._base import is_sigmoid
from kd_plugins.losses._reductions import COUNT_EPS, float32_rows
from kd_plugins.registry import TARGET_TRANSFORMS
from kd_plugins.target_transforms._base import ComparedRows, TargetTransform


def confidence_weights(
    logits: Tensor, *, mask: Tensor | None = None, use_sigmoid: bool = False
) -> Tensor:
    r"""How sure a model is of each row beside the others; the weights add up to 1.

    .. math:: w_i = \frac{\max_c p_{i,c}}{\sum_u \max_c p_{u,c}}

    Args:
        logits: shape (M, K), or maps (N, K, H, W) whose pixels are rows; any float
            dtype.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.

    Returns: shape (M,) or (N, H, W); all 0 where no row is kept.
    Raises: ShapeError for another shape of the mask.
    Source: Furlanello et al., Born-Again Neural Networks, ICML 2018,
        https://arxiv.org/abs/1805.04770 (CWTM).

    Example:
        >>> probs = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
        >>> confidence_weights(probs.log())
        tensor([0.4500, 0.3000, 0.2500])
    """
    if mask is not None:
        (check_pixel_mask if logits.dim() == 4 else _check_rows)(mask, logits)
    with float32_rows(logits.detach()) as (rows,):
        probs = rows.sigmoid() if use_sigmoid else rows.softmax(dim=1)
        highest = probs.amax(dim=1)
        if mask is not None:  # a dropped row may hold anything
            highest = torch.where(mask > 0, highest * mask, 0.0)
        return highest / highest.sum().clamp(min=COUNT_EPS)


def _check_rows(mask: Tensor, logits: Tensor) -> None:
    check_mask(mask, len(logits))


@TARGET_TRANSFORMS.register_module()
class CWTMTransform(TargetTransform):
    """Rows weighed by how sure the teacher is of them, beside the rows of the batch.

    The weights are those of :func:`confidence_weights`, times the number of rows: their
    mean is 1. The paper weighs the cross-entropy of the labels, with nothing else of
    the teacher: ``loss=dict(type='LabelSmoothingLoss', smoothing=0.0)``. For losses
    that compare row by row. The rows of a process are the batch.
    """

    weighs_rows: ClassVar[bool] = True

    def __call__(self, rows: ComparedRows, context: LossContext) -> ComparedRows:
        """The rows with another mask."""
        weights = confidence_weights(
            rows.teacher,
            mask=rows.mask,
            use_sigmoid=is_sigmoid(None, context, rows.teacher),
        )
        number = float(weights.numel()) if rows.mask is None else rows.mask.sum()
        return replace(rows, mask=weights * number)
