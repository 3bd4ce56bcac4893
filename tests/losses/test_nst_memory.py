"""Neuron selectivity transfer keeps no tensor of channels by channels by pixels."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kd_plugins.losses import selectivity_discrepancy
from kd_plugins.losses.nst import KERNELS

from ._common import backward


class Sizes(TorchDispatchMode):
    """Notes how many numbers the largest tensor holds that is made within."""

    largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(item, Tensor):
                self.largest = max(self.largest, item.numel())
        return result


@pytest.mark.parametrize('kernel', KERNELS)
def test_memory_is_what_the_docstring_says(kernel: str) -> None:
    images, channels, side = 2, (24, 32), 32

    def measure(side: int) -> tuple[int, int]:
        """Numbers of the largest tensor, and of all kept for the backward pass."""
        kept = {}

        def pack(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        student, teacher = (torch.randn(images, c, side, side) for c in channels)
        student.requires_grad_()
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            Sizes() as sizes,
        ):
            backward(selectivity_discrepancy(student, teacher, kernel=kernel))
        return sizes.largest, sum(kept.values())

    largest, kept = measure(side)
    student_numbers, teacher_numbers = (images * c * side**2 for c in channels)
    values = images * sum(a * b for a, b in ((24, 24), (24, 32), (32, 32)))
    assert largest <= teacher_numbers
    assert kept <= 3 * (student_numbers + teacher_numbers + values)
    wide_largest, wide_kept = measure(2 * side)  # linear in H W
    assert wide_largest <= 4 * largest
    assert wide_kept <= 4 * kept
