"""Three values, by hand; the gradient of the identity."""

import torch
from torch.testing import assert_close

from kd_plugins.quantizers import TernaryWeights, quantize_ternary


def test_four_weights_by_hand() -> None:
    # Mean magnitude 0.4625, threshold 0.32375; mean of 0.9 and 0.8: 0.85.
    weight = torch.tensor([0.9, -0.8, 0.1, -0.05], requires_grad=True)
    quantized = TernaryWeights()(weight)
    assert_close(quantized, torch.tensor([0.85, -0.85, 0.0, 0.0]))
    factor = torch.tensor([1.0, 2.0, 3.0, 4.0])
    (quantized * factor).sum().backward()
    assert weight.grad is not None
    assert_close(weight.grad, factor)


def test_the_threshold_itself_is_not_kept() -> None:
    # Mean 1, threshold 0.7: 0.75 is above it, 0.65 below.
    weight = torch.tensor([0.65, 0.75, 1.6])
    assert_close(quantize_ternary(weight), torch.tensor([0.0, 1.175, 1.175]))


def test_zeros_stay() -> None:
    assert torch.equal(quantize_ternary(torch.zeros(3)), torch.zeros(3))
