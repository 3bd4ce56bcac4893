"""Logit regression: squared distance of logits, as they are or centred."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import LogitL2Loss, logit_l2, softened_divergence

from ._cases import LossCase, features, logits
from ._common import STUDENT, TEACHER, gradient, row_pairs

CASES = [
    LossCase('logit_l2', LogitL2Loss, logits(4)),
    LossCase(
        'logit_l2-centred',
        LogitL2Loss,
        logits(4),
        {'normalize': 'elementmean', 'centre': True},
    ),
    LossCase('logit_l2-maps', LogitL2Loss, features(3, 1, 1), mask_sides=(1, 1)),
]


# (2, 1, 0) - (1, 0, 0) = (1, 1, 0); centred (1, 1, -2) / 3.
@pytest.mark.parametrize(
    ('normalize', 'centre', 'expected'),
    [
        ('half_batchmean', False, 1.0),
        ('elementmean', False, 2 / 3),
        ('half_batchmean', True, 1 / 3),
        ('elementmean', True, 2 / 9),
    ],
)
def test_running_example(normalize: str, centre: bool, expected: float) -> None:
    value = LogitL2Loss(normalize=normalize, centre=centre)(STUDENT, TEACHER)
    assert value.item() == pytest.approx(expected)


@given(pair=row_pairs(min_columns=1))
def test_equals_numpy(pair: tuple[Tensor, Tensor]) -> None:
    difference = pair[0].numpy() - pair[1].numpy()
    half = torch.tensor(np.sum(difference**2) / (2 * len(difference)))
    assert_close(logit_l2(*pair), half)
    mean = torch.tensor(np.mean(difference**2))
    assert_close(logit_l2(*pair, normalize='elementmean'), mean)


@given(pair=row_pairs())
def test_centred_is_the_limit_of_softened_divergence(
    pair: tuple[Tensor, Tensor],
) -> None:
    limit = softened_divergence(*pair, temperature=1e4)
    classes = pair[0].shape[1]
    assert_close(logit_l2(*pair, centre=True), classes * limit, rtol=1e-2, atol=1e-5)


@given(pair=row_pairs(), shift=st.floats(-5, 5))
def test_only_the_centred_form_ignores_a_constant(
    pair: tuple[Tensor, Tensor], shift: float
) -> None:
    student, teacher = pair
    centred = logit_l2(student, teacher, centre=True)
    assert_close(logit_l2(student + shift, teacher, centre=True), centred)
    moved = logit_l2(teacher + shift, teacher)
    assert_close(moved, moved.new_tensor(student.shape[1] * shift**2 / 2))


@given(pair=row_pairs(min_columns=1))
def test_gradient_is_the_difference(pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    student.requires_grad_()
    expected = (student - teacher).detach() / len(student)
    assert_close(gradient(logit_l2(student, teacher), student), expected)


def test_unknown_normalisations_are_refused() -> None:
    message = "normalize must be 'half_batchmean' or 'elementmean', got 'mean'"
    with pytest.raises(ConfigError, match=message):
        LogitL2Loss(normalize='mean')
    with pytest.raises(ConfigError, match=message):
        logit_l2(STUDENT, TEACHER, normalize='mean')
