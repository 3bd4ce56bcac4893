"""The plain means: of probabilities, of logits, of losses."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_float
from kd_plugins.combinations._base import MergedTeachers, WeighedLosses
from kd_plugins.losses._reductions import float32_rows
from kd_plugins.registry import COMBINATIONS


def mean_probs(
    logits: Tensor, *, temperature: float = 1.0, use_sigmoid: bool = False
) -> Tensor:
    r"""Logits whose probabilities are the mean of the teachers'.

    .. math:: z = \tau \log \frac{1}{T} \sum_t \mathrm{softmax}(z_t / \tau)

    and for sigmoid logits, column by column, :math:`z = \tau \log (p / (1 - p))` with
    the mean :math:`p` of :math:`\mathrm{sigmoid}(z_t / \tau)`.

    Args:
        logits: of T teachers, (T, M, K) or (T, N, K, H, W), any float dtype.
        temperature: > 0, at which the means are taken; a loss that divides by the same
            temperature learns from exactly these means.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.

    Returns: shape (M, K) or (N, K, H, W); those of a softmax are normalised.
    Raises: ConfigError for a temperature <= 0.
    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network,
        2015, https://arxiv.org/abs/1503.02531: the average of an ensemble's predictive
        distributions. The sigmoid form is our addition.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
        >>> mean_probs(probs.log()).softmax(dim=1)
        tensor([[0.7000, 0.3000]])
    """
    check_float('temperature', temperature, strict=True)
    with float32_rows(logits) as (full,):
        softened = full / temperature
        number = math.log(len(softened))
        if use_sigmoid:
            yes = F.logsigmoid(softened).logsumexp(dim=0) - number
            no = F.logsigmoid(-softened).logsumexp(dim=0) - number
            return temperature * (yes - no)
        log_probs = softened.log_softmax(dim=2)
        return temperature * (log_probs.logsumexp(dim=0) - number)


@COMBINATIONS.register_module()
class MeanProbs(MergedTeachers):
    """One teacher whose probabilities are the mean of all; see :func:`mean_probs`.

    Only for losses that read no more of logits than probabilities; others, such as
    ``CWDLoss``, are refused, and :class:`MeanLogits` serves them.

    Args:
        temperature: at which the means are taken, > 0.

    Raises: ConfigError for another temperature.
    """

    normalizes = True

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = check_float('temperature', temperature, strict=True)

    def merge(self, logits: Tensor, *, use_sigmoid: bool) -> Tensor:
        """Logits of the mean probabilities."""
        return mean_probs(logits, temperature=self.temperature, use_sigmoid=use_sigmoid)


@COMBINATIONS.register_module()
class MeanLogits(MergedTeachers):
    """One teacher whose logits are the mean of all.

    Example:
        >>> MeanLogits().merge(
        ...     torch.tensor([[[2.0, 0.0]], [[4.0, 1.0]]]), use_sigmoid=False
        ... )
        tensor([[3.0000, 0.5000]])
    """

    def merge(self, logits: Tensor, *, use_sigmoid: bool) -> Tensor:
        """The mean, in float32."""
        with float32_rows(logits) as (full,):
            return full.mean(dim=0)


@COMBINATIONS.register_module()
class MeanLosses(WeighedLosses):
    """The mean of the losses under each teacher, of whatever a pair compares.

    Each teacher has an adapter of its own, where the pair has one.
    """

    def weights(
        self,
        logits: Tensor | None,
        number: int,
        *,
        target: Tensor | None = None,
        use_sigmoid: bool = False,
    ) -> Tensor:
        """1/T for each of T teachers."""
        return torch.full((number,), 1.0 / number)
