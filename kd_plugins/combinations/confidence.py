"""Teachers weighed by how well they know each sample, of Zhang et al. 2022."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_bool
from kd_plugins.combinations._base import WeighedLosses
from kd_plugins.errors import ShapeError
from kd_plugins.losses._reductions import float32_rows
from kd_plugins.registry import COMBINATIONS


def class_errors(
    logits: Tensor, target: Tensor, *, use_sigmoid: bool = False
) -> Tensor:
    """Cross-entropy of each row under its label; of sigmoid columns added up.

    Args:
        logits: (M, K), or maps (N, K, H, W), any float dtype.
        target: labels (M,) or (N, H, W), 0 to K - 1 of a softmax. Of sigmoid columns a
            label of K is none of them, and that of a single column is 1 or 0.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.

    Returns: nats, of the target's shape.
    Raises: ShapeError for a target of another shape.

    Example:
        >>> class_errors(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]))
        tensor([0.6931])
    """
    size = (len(logits), *logits.shape[2:])
    if target.shape != size:
        raise ShapeError(
            f'the target must be a label for each row, {tuple(size)}, got '
            f'{tuple(target.shape)}.'
        )
    with float32_rows(logits) as (full,):
        columns = full.shape[1]
        if not use_sigmoid:
            labels = target.long().clamp(0, columns - 1)
            return F.cross_entropy(full, labels, reduction='none')
        if columns == 1:
            yes = target[:, None].to(full)
        else:
            numbers = torch.arange(columns, device=full.device)
            shape = (1, columns, *[1] * (full.dim() - 2))
            yes = (target[:, None] == numbers.view(shape)).to(full)
        entropies = F.binary_cross_entropy_with_logits(full, yes, reduction='none')
        return entropies.sum(dim=1)


def confidence_weights(errors: Tensor) -> Tensor:
    r"""Weights that a teacher has the less, the larger its error; they add up to 1.

    .. math:: w_t = \frac{1}{T - 1} \left(1 - \frac{\exp l_t}{\sum_j \exp l_j}\right)

    Args:
        errors: of T teachers, (T, ...), in nats; any float dtype.

    Returns: same shape, no unit, 0 to 1 / (T - 1); 1 for a single teacher.
    Source: Zhang, Chen and Wang, Confidence-Aware Multi-Teacher Knowledge Distillation,
        ICASSP 2022, https://arxiv.org/abs/2201.00007. Author code:
        https://github.com/Rorozhl/CA-MKD, which exponentiates without subtracting the
        largest error.

    Example:
        >>> confidence_weights(torch.tensor([0.2, 1.0, 2.0]))
        tensor([0.4461, 0.3800, 0.1739])
    """
    if len(errors) == 1:
        return torch.ones_like(errors)
    return (1 - errors.softmax(dim=0)) / (len(errors) - 1)


@COMBINATIONS.register_module()
class ConfidenceWeights(WeighedLosses):
    """CA-MKD: each row's losses weighed by how well each teacher knows its label.

    See :func:`confidence_weights`. Of class logits by each teacher's cross-entropy to
    the label. Of features (views 'roi.features' and 'seg.features') by that of the
    student's feature, behind the adapter to this teacher, as the teacher's own
    classifier judges it.

    Args:
        detach_weights: whether the weights of features take no gradient; in the
            authors' code they do (False).
        divide_by_number: whether the sum is divided once more by the number of
            teachers, as in the authors' code.

    Source: as of :func:`confidence_weights`.
    Raises: ConfigError for another value of either argument.
    """

    of_logits = True
    of_rows = True
    needs_labels = True
    of_features = True

    def __init__(
        self, detach_weights: bool = True, divide_by_number: bool = False
    ) -> None:
        self.detach_weights = check_bool('detach_weights', detach_weights)
        self.divide_by_number = check_bool('divide_by_number', divide_by_number)

    def weights(
        self,
        logits: Tensor | None,
        number: int,
        *,
        target: Tensor | None = None,
        use_sigmoid: bool = False,
    ) -> Tensor:
        """Of each teacher and row; they add up to 1."""
        assert logits is not None and target is not None
        errors = [
            class_errors(each, target, use_sigmoid=use_sigmoid) for each in logits
        ]
        weights = confidence_weights(torch.stack(errors))
        return weights / number if self.divide_by_number else weights
