"""Calibration: a confidence of 0.8 should be correct in 8 of 10 cases."""

import torch
from torch import Tensor

from ...errors import ShapeError


def calibration_bins(confidence: Tensor, correct: Tensor, *, bins: int = 10) -> Tensor:
    r"""Counts of predictions by confidence; those of several batches add up.

    Bin :math:`b` of :math:`B` holds the confidences in :math:`((b - 1) / B, b / B]`,
    the first bin also those of 0.

    Args:
        confidence: probability of the predicted class, from 0 to 1, shape (M,).
        correct: whether the prediction is correct, shape (M,), boolean or 0 and 1.
        bins: number of bins, of equal width.

    Returns: float64, shape (3, bins): number of predictions, sum of their confidences,
        number of correct predictions.

    Raises: ShapeError unless both are (M,).
    """
    if confidence.dim() != 1 or confidence.shape != correct.shape:
        raise ShapeError(
            'confidence and correct must both be (M,), one number a prediction, got '
            f'{tuple(confidence.shape)} and {tuple(correct.shape)}.'
        )
    exact = confidence.double()
    # 0.3 in float32 exceeds 0.3 in float64: compare in the precision of the input.
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1].to(confidence)
    index = torch.bucketize(confidence, edges)  # a right edge belongs to its bin
    counted = exact.new_zeros(3, bins)
    for row, values in enumerate((torch.ones_like(exact), exact, correct.double())):
        counted[row].index_add_(0, index, values)
    return counted


def calibration_error(counted: Tensor) -> Tensor:
    r"""Expected calibration error, from counts by confidence.

    .. math:: \sum_b \frac{n_b}{n} \left| \mathrm{correct}_b / n_b
        - \mathrm{confidence}_b / n_b \right|

    Args:
        counted: of :func:`calibration_bins`, shape (3, B).

    Returns: scalar from 0 to 1; NaN without predictions.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
        https://arxiv.org/abs/1706.04599, eq. 3.
    """
    number, confidence, correct = counted
    error: Tensor = (correct - confidence).abs().sum() / number.sum()
    return error


def expected_calibration_error(
    confidence: Tensor, correct: Tensor, *, bins: int = 10
) -> Tensor:
    """Mean gap between confidence and accuracy; see :func:`calibration_error`.

    Arguments: as of :func:`calibration_bins`; Stanton et al. use 10 bins, Guo et al.
        15.
    Returns: scalar from 0 to 1; NaN without predictions.

    Example:
        >>> expected_calibration_error(torch.full((4,), 0.75), torch.arange(4) > 0)
        tensor(0., dtype=torch.float64)
    """
    return calibration_error(calibration_bins(confidence, correct, bins=bins))
