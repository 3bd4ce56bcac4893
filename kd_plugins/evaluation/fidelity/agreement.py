"""Agreement and divergence of the predictions of student and teacher."""

import torch
from torch import Tensor

from ...checks import check_choice, check_same_shape
from ...losses._reductions import REDUCTIONS


def agreement(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Share of rows for which both models predict the same class.

    .. math:: \frac{1}{M} \sum_m
        [\arg\max_k z^S_{m,k} = \arg\max_k z^T_{m,k}]

    Args:
        student: logits, shape (M, K); of equal logits the first class is predicted.
        teacher: same shape.

    Returns: scalar from 0 to 1; NaN without rows.

    Raises: ShapeError if the two shapes differ.

    Source: Stanton et al., Does Knowledge Distillation Really Work?, NeurIPS 2021,
        https://arxiv.org/abs/2106.05945, top-1 agreement; the authors' code gives it
        in percent.

    Example:
        >>> student = torch.eye(3)
        >>> agreement(student, student[[0, 1, 1]])
        tensor(0.6667)
    """
    check_same_shape(student, teacher, layout='MK')
    return (student.argmax(dim=1) == teacher.argmax(dim=1)).float().mean()


def predictive_divergence(
    student: Tensor, teacher: Tensor, *, reduction: str = 'mean'
) -> Tensor:
    r"""Kullback-Leibler divergence of the student's probabilities from the teacher's.

    .. math:: \frac{1}{M} \sum_m \sum_k p^T_{m,k} \log (p^T_{m,k} / p^S_{m,k})

    with :math:`p` the softmax of the logits, at temperature 1. The authors' code takes
    the mean of the means of batches, so rows of a small last batch weigh more; here
    every row has the same weight.

    Args:
        student: logits, shape (M, K).
        teacher: same shape.
        reduction: 'mean', 'sum' or 'none'.

    Returns: in nats, a scalar, for 'none' of shape (M,); 'mean' is NaN without rows.

    Raises: ShapeError if the two shapes differ.

    Source: Stanton et al., 2021, https://arxiv.org/abs/2106.05945, predictive KL.
        Author code: https://github.com/samuelstanton/gnosis.
    """
    check_same_shape(student, teacher, layout='MK')
    check_choice('reduction', reduction, REDUCTIONS)
    log_student = student.log_softmax(dim=1)
    log_teacher = teacher.log_softmax(dim=1)
    probs = log_teacher.exp()
    # A class of probability 0 in the teacher adds 0, not 0 * infinity.
    terms = (probs * (log_teacher - log_student)).masked_fill(probs == 0, 0.0)
    rows = terms.sum(dim=1)
    if reduction == 'none':
        return rows
    return rows.sum() if reduction == 'sum' else rows.mean()


def binary_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence between two scores of the same class.

    .. math:: s^T \log \frac{s^T}{s^S} + (1 - s^T) \log \frac{1 - s^T}{1 - s^S}

    Scores are clamped by the precision of float32: a score rounded to 0 or 1 must not
    make the mean infinite.

    Args:
        student: scores from 0 to 1, shape (M,).
        teacher: same shape.

    Returns: in nats, shape (M,).

    Source: ``predictive_divergence`` of two classes; a detector's prediction of a box
        has the score of one class only.
    """
    eps = torch.finfo(torch.float32).eps
    student, teacher = (
        scores.double().clamp(min=eps, max=1 - eps) for scores in (student, teacher)
    )
    yes = teacher * (teacher.log() - student.log())
    return yes + (1 - teacher) * ((-teacher).log1p() - (-student).log1p())
