"""Whether a confidence of 0.8 is right in 8 of 10 cases."""

import numpy as np
import pytest
import torch

from kd_plugins.errors import ShapeError
from kd_plugins.evaluation.fidelity import (
    calibration_bins,
    calibration_error,
    expected_calibration_error,
)


def test_a_calibrated_model_has_no_error() -> None:
    confidence = torch.tensor([0.8] * 10 + [0.5] * 4)
    correct = torch.tensor([1] * 8 + [0] * 2 + [1, 1, 0, 0])
    value = expected_calibration_error(confidence, correct)
    assert value.item() == pytest.approx(0, abs=1e-7)


def test_an_overconfident_model_by_hand() -> None:
    # Of 0.95: one of four right, a gap of 0.7; of 0.55: two of two, of 0.45.
    confidence = torch.tensor([0.95] * 4 + [0.55] * 2)
    correct = torch.tensor([True, False, False, False, True, True])
    value = expected_calibration_error(confidence, correct)
    assert value.item() == pytest.approx((4 * 0.7 + 2 * 0.45) / 6, rel=1e-6)


def test_a_bin_holds_its_right_edge_and_the_first_one_zero() -> None:
    confidence = torch.tensor([0.0, 0.1, 0.3, 0.30001, 1.0])
    counted = calibration_bins(confidence, torch.ones(5), bins=10)
    assert counted[0].tolist() == [2, 0, 1, 1, 0, 0, 0, 0, 0, 1]
    assert counted[2].equal(counted[0])
    assert counted[1, 0].item() == pytest.approx(0.1)


@pytest.mark.parametrize('bins', [1, 10, 15])
def test_the_error_is_that_of_a_loop_over_masks(bins: int) -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(size=200)
    correct = generator.uniform(size=200) < confidence**2
    expected = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    tensors = torch.from_numpy(confidence), torch.from_numpy(correct)
    value = expected_calibration_error(*tensors, bins=bins)
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_batches_add_up() -> None:
    confidence, correct = torch.rand(9), torch.rand(9) > 0.5
    parts = [
        calibration_bins(confidence[part], correct[part])
        for part in (slice(0, 7), slice(7, 9))
    ]
    whole = expected_calibration_error(confidence, correct)
    assert calibration_error(sum(parts)).item() == pytest.approx(whole.item())


def test_without_predictions_there_is_none() -> None:
    assert expected_calibration_error(torch.zeros(0), torch.zeros(0)).isnan()


def test_one_answer_a_prediction() -> None:
    with pytest.raises(ShapeError, match=r'got \(3,\) and \(2,\)'):
        expected_calibration_error(torch.zeros(3), torch.zeros(2))
