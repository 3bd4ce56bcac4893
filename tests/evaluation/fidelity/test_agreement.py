"""Whether two models predict the same, and how far apart their predictions lie."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.evaluation.fidelity import (
    agreement,
    binary_divergence,
    predictive_divergence,
)


def test_two_of_three_rows_agree() -> None:
    student = torch.eye(3)
    assert agreement(student, student[[0, 1, 1]]).item() == pytest.approx(2 / 3)


def test_of_equal_logits_the_first_class_is_predicted() -> None:
    student, teacher = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 1.0]])
    assert agreement(student, teacher).item() == 1


def test_divergence_by_hand() -> None:
    teacher = torch.tensor([[3.0, 1.0]]).log()  # 3/4, 1/4
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)  # from 1/2, 1/2
    value = predictive_divergence(torch.zeros(1, 2), teacher)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_divergence_of_the_running_example() -> None:
    teacher, student = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    value = predictive_divergence(student, teacher)
    assert value.item() == pytest.approx(0.053808, abs=1e-6)
    # Forward, not reverse, which is 0.068103.
    swapped = predictive_divergence(teacher, student)
    assert swapped.item() == pytest.approx(0.068103, abs=1e-6)


def test_divergence_is_that_of_scipy() -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(scale=3, size=(2, 50, 7))
    expected = rel_entr(softmax(teacher, axis=1), softmax(student, axis=1)).sum(axis=1)
    tensors = torch.from_numpy(student), torch.from_numpy(teacher)
    rows = predictive_divergence(*tensors, reduction='none')
    assert rows.numpy() == pytest.approx(expected, rel=1e-9)
    total = predictive_divergence(*tensors, reduction='sum')
    assert total.item() == pytest.approx(expected.sum(), rel=1e-9)


def test_identical_logits_agree_without_divergence() -> None:
    logits = 100 * torch.randn(20, 5)
    assert agreement(logits, logits).item() == 1
    assert predictive_divergence(logits, logits).item() == 0


def test_large_and_infinite_logits_stay_finite() -> None:
    student, teacher = 100 * torch.randn(2, 20, 5)
    assert predictive_divergence(student, teacher).isfinite()
    teacher = torch.tensor([[0.0, -math.inf]])
    value = predictive_divergence(torch.zeros(1, 2), teacher)
    assert value.item() == pytest.approx(math.log(2))


def test_without_rows_there_is_no_mean() -> None:
    none = torch.zeros(0, 3)
    assert agreement(none, none).isnan()
    assert predictive_divergence(none, none).isnan()
    assert predictive_divergence(none, none, reduction='sum').item() == 0


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ShapeError, match='same classes'):
        agreement(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ShapeError, match='same classes'):
        predictive_divergence(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="got 'avg'"):
        predictive_divergence(torch.zeros(2, 3), torch.zeros(2, 3), reduction='avg')


def test_divergence_of_scores_is_that_of_two_answers() -> None:
    student, teacher = torch.rand(2, 30, dtype=torch.float64)
    expected = predictive_divergence(
        torch.stack([student.log(), (-student).log1p()], dim=1),
        torch.stack([teacher.log(), (-teacher).log1p()], dim=1),
        reduction='none',
    )
    torch.testing.assert_close(binary_divergence(student, teacher), expected)
    assert binary_divergence(student, student).abs().max() == 0


def test_a_score_rounded_to_one_leaves_the_divergence_finite() -> None:
    value = binary_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 1.0]))
    assert value.isfinite().all() and (value > 0).all()
