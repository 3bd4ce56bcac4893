"""Class logits of pixels, summed over a data set."""

import math

import pytest
import torch

from kd_plugins.evaluation.fidelity import (
    PixelFidelity,
    agreement,
    expected_calibration_error,
    predictive_divergence,
    sample_pixels,
)


def test_sums_are_the_functions_of_all_rows() -> None:
    student, teacher = torch.randn(2, 12, 3, dtype=torch.float64)
    labels = torch.randint(0, 3, (12,))
    fidelity = PixelFidelity()
    for part in (slice(0, 9), slice(9, 12), slice(12, 12)):
        fidelity.add(student[part], teacher[part], labels[part])
    values = fidelity.values()
    assert values['agreement'] == pytest.approx(agreement(student, teacher).item())
    divergence = predictive_divergence(student, teacher)
    assert values['kl'] == pytest.approx(divergence.item())
    for name, logits in (('student', student), ('teacher', teacher)):
        confidence, predicted = logits.softmax(1).max(1)
        error = expected_calibration_error(confidence, predicted == labels)
        assert values[f'ece_{name}'] == pytest.approx(error.item())


def test_without_pixels_nothing_has_a_value() -> None:
    assert all(math.isnan(value) for value in PixelFidelity().values().values())


def test_ignored_pixels_are_never_drawn() -> None:
    labels = torch.tensor([[0, 255, 1], [255, 2, 255]])
    assert sample_pixels(labels, 255, 10).tolist() == [0, 2, 4]
    assert sample_pixels(labels, None, 10).tolist() == list(range(6))
    some = sample_pixels(labels, 255, 2).tolist()
    assert len(some) == 2 and set(some) < {0, 2, 4}
    assert sample_pixels(torch.full((2, 2), 255), 255, 4).tolist() == []


def test_the_same_pixels_are_drawn_again_and_nobody_elses_numbers() -> None:
    labels = torch.zeros(1, 100, 100)
    state = torch.get_rng_state()
    drawn = sample_pixels(labels, 255, 50)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn, sample_pixels(labels, 255, 50))
    assert len(drawn.unique()) == 50
    assert 3000 < drawn.float().mean() < 7000  # from everywhere
