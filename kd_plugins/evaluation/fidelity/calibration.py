"""Whether a confidence of 0.8 is right in 8 of 10 cases."""

import torch
from torch import Tensor

from ...errors import ShapeError


def calibration_bins(confidence: Tensor, correct: Tensor, *, bins: int = 10) -> Tensor:
    r"""Predictions counted by their confidence; of several batches they add up.

    Bin :math:`b` of :math:`B` holds the confidences in :math:`((b - 1) / B, b / B]`,
    the first one also those of 0.

    Args:
        confidence: probability of what is predicted, from 0 to 1, shape (M,).
        correct: whether it was right, shape (M,), boolean or 0 and 1.
        bins: how many, of equal width.

    Returns: float64, shape (3, bins): number of predictions, sum of their confidences,
        number of right ones.

    Raises: ShapeError unless there is one confidence and one answer a prediction.
    """
    if confidence.dim() != 1 or confidence.shape != correct.shape:
        raise ShapeError(
            'confidence and correct must both be (M,), one number a prediction, got '
            f'{tuple(confidence.shape)} and {tuple(correct.shape)}.'
        )
    exact = confidence.double()
    # A 0.3 of float32 lies above that of float64: compared in its own precision.
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1].to(confidence)
    index = torch.bucketize(confidence, edges)  # right edges belong to their bin
    found = exact.new_zeros(3, bins)
    for row, values in enumerate((torch.ones_like(exact), exact, correct.double())):
        found[row].index_add_(0, index, values)
    return found


def calibration_error(counted: Tensor) -> Tensor:
    r"""Expected calibration error of predictions that are counted by confidence.

    .. math:: \sum_b \frac{n_b}{n} \left| \mathrm{right}_b / n_b
        - \mathrm{confidence}_b / n_b \right|

    Args:
        counted: as ``calibration_bins`` gives it, shape (3, B).

    Returns: scalar from 0 to 1; NaN without predictions.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
        https://arxiv.org/abs/1706.04599, eq. 3.
    """
    number, confidence, right = counted
    error: Tensor = (right - confidence).abs().sum() / number.sum()
    return error


def expected_calibration_error(
    confidence: Tensor, correct: Tensor, *, bins: int = 10
) -> Tensor:
    """Mean gap between confidence and accuracy; see ``calibration_error``.

    Args:
        confidence: probability of what is predicted, shape (M,).
        correct: whether it was right, shape (M,).
        bins: 10, as Stanton et al. count; Guo et al. take 15.

    Returns: scalar from 0 to 1; NaN without predictions.

    Example:
        >>> expected_calibration_error(torch.full((4,), 0.75), torch.arange(4) > 0)
        tensor(0., dtype=torch.float64)
    """
    return calibration_error(calibration_bins(confidence, correct, bins=bins))
