"""In bfloat16 every loss stays finite and near its value in float32."""

import pytest
import torch

from .tiny import all_pairs, distiller, losses_of


@pytest.mark.host
def test_losses_in_bfloat16_are_near_those_in_float32() -> None:
    model = distiller(all_pairs())
    full = losses_of(model)
    with torch.autocast('cpu', torch.bfloat16):
        half = losses_of(model)
    model.parse_losses(half)[0].backward()
    for name in all_pairs():
        key = f'loss_kd_{name}'
        assert half[key].dtype == torch.float32
        torch.testing.assert_close(half[key], full[key], rtol=2e-2, atol=1e-4)
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
