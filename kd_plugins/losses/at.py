"""Attention transfer: where a layer is active, of Zagoruyko and Komodakis 2017."""

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_float, check_same_size
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import (
    SHORTEST,
    float32_rows,
    reduce_loss,
    unit_vectors,
)
from kd_plugins.registry import LOSSES

FORMS = ('sum', 'max')
MODES = ('paper', 'code', 'squared')


def attention_transfer(
    student: Tensor,
    teacher: Tensor,
    *,
    p: float = 2.0,
    form: str = 'sum',
    mode: str = 'paper',
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Distance between the attention over the pixels of a map, image by image.

    .. math:: L_n = \|q^S_n - q^T_n\|_2, \qquad q = \frac{Q}{\|Q\|_2}, \qquad
        Q_i = \sum_c |A_{c,i}|^p \quad\text{or}\quad \max_c |A_{c,i}|^p

    Args:
        student: feature A, shape (N, C, H, W), any float dtype.
        teacher: shape (N, C', H, W): the channels may differ, the size may not.
        p: power, >= 1; a larger one stresses the strongest pixels.
        form: 'sum' or 'max' over the channels.
        mode: 'paper' as above; 'code', the mean of the squared differences over the
            pixels, which is smaller on larger maps; 'squared', their sum, which is not:
            with it all levels of a pyramid have the same weight.
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: no unit, at most sqrt(2) for 'paper', 2 for 'squared' and 2 / (H W) for
        'code'; a scalar, or shape (N,) for 'none'. Of a map without activation
        (1e-6 at most) q is 0, and so is its gradient.
    Raises: ShapeError if batch size, height or width differ; ConfigError for values
        that cannot be.
    Source: Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017,
        https://arxiv.org/abs/1612.03928, the activation-based form, before its factor
        beta / 2. Author code, https://github.com/szagoruyko/attention-transfer: mode
        'code' with p = 2, before beta = 1000; the mean over channels it takes for Q is
        the same after the division by the norm.

    Example:
        >>> import torch
        >>> student = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
        >>> teacher = torch.tensor([0.0, -3.0]).view(1, 1, 1, 2)
        >>> attention_transfer(student, teacher)
        tensor(1.4142)
        >>> attention_transfer(student, teacher, mode='code')
        tensor(1.)
    """
    check_same_size(student, teacher)
    check_float('p', p, minimum=1.0)
    check_choice('form', form, FORMS)
    check_choice('mode', mode, MODES)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        difference = _attention(student, p, form) - _attention(teacher, p, form)
        if mode == 'paper':
            each = difference.norm(dim=1)  # (N,)
        elif mode == 'code':
            each = difference.square().mean(dim=1)
        else:
            each = difference.square().sum(dim=1)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _attention(feature: Tensor, p: float, form: str) -> Tensor:
    """The attention q, shape (N, H W)."""
    strength = feature.abs()
    # q ignores the scale of a map, so the map is divided by a constant: powers of large
    # values would overflow, powers of small ones vanish.
    largest = strength.detach().amax(dim=(1, 2, 3), keepdim=True)
    scaled = strength / largest.clamp(min=SHORTEST)
    scaled = torch.where(largest > SHORTEST, scaled, torch.zeros_like(scaled))
    powers = scaled**p
    attention = powers.sum(dim=1) if form == 'sum' else powers.amax(dim=1)
    return unit_vectors(attention.flatten(1))


@LOSSES.register_module()
class ATLoss(DistillationLoss):
    """Weighted :func:`attention_transfer`.

    Args:
        loss_weight: factor of the value, >= 0 (the released code: 1000 with
            ``mode='code'``).

    Other arguments: as of :func:`attention_transfer`.
    Raises: ConfigError for invalid values.
    """

    same_channels = False

    def __init__(
        self,
        loss_weight: float = 1.0,
        p: float = 2.0,
        form: str = 'sum',
        mode: str = 'paper',
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.p = check_float('p', p, minimum=1.0)
        self.form = check_choice('form', form, FORMS)
        self.mode = check_choice('mode', mode, MODES)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these images; see :func:`attention_transfer`."""
        return self.loss_weight * attention_transfer(
            student,
            teacher.detach(),
            p=self.p,
            form=self.form,
            mode=self.mode,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
