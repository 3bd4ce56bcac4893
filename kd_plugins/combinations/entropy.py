"""Teachers weighed by how sure they are of each sample, without labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.combinations._base import WeighedLosses
from kd_plugins.losses._reductions import float32_rows
from kd_plugins.registry import COMBINATIONS


def class_entropies(logits: Tensor, *, use_sigmoid: bool = False) -> Tensor:
    """Entropy of each row's classes; of sigmoid columns added up.

    Args:
        logits: (M, K), or maps (N, K, H, W), any float dtype.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.

    Returns: nats, (M,) or (N, H, W).

    Example:
        >>> class_entropies(torch.zeros(1, 2))
        tensor([0.6931])
    """
    with float32_rows(logits) as (full,):
        if use_sigmoid:
            yes, no = F.logsigmoid(full), F.logsigmoid(-full)
            return -(yes.exp() * yes + no.exp() * no).sum(dim=1)
        log_probs = full.log_softmax(dim=1)
        return -(log_probs.exp() * log_probs).sum(dim=1)


def entropy_weights(entropies: Tensor) -> Tensor:
    r"""Weights that a teacher has the less, the less sure it is.

    .. math:: w_t = \frac{1}{T} \left(1 - \frac{H_t}{\sum_j H_j}\right)

    They add up to (T - 1) / T, not to 1.

    Args:
        entropies: of T teachers, (T, ...), >= 0; any float dtype.

    Returns: same shape, no unit; where all are 0 the weights are equal, and a single
        teacher has 1.
    Source: the baseline EBKD in the code of Zhang, Chen and Wang (see
        :func:`~kd_plugins.combinations.confidence_weights`).

    Example:
        >>> entropy_weights(torch.tensor([0.2, 0.6]))
        tensor([0.3750, 0.1250])
    """
    number = len(entropies)
    if number == 1:
        return torch.ones_like(entropies)
    total = entropies.sum(dim=0, keepdim=True)
    shares = torch.where(
        total > 0, entropies / total, torch.full_like(entropies, 1 / number)
    )
    return (1 - shares) / number


@COMBINATIONS.register_module()
class EntropyWeights(WeighedLosses):
    """EBKD: each row's losses weighed by how sure each teacher is of it.

    See :func:`entropy_weights`. Of class logits, at temperature 1; no labels are
    needed.
    """

    of_logits = True
    of_rows = True

    def weights(
        self,
        logits: Tensor | None,
        number: int,
        *,
        target: Tensor | None = None,
        use_sigmoid: bool = False,
    ) -> Tensor:
        """Of each teacher and row; they add up to (T - 1) / T."""
        assert logits is not None
        return entropy_weights(
            torch.stack(
                [class_entropies(each, use_sigmoid=use_sigmoid) for each in logits]
            )
        )
