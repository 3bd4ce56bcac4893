"""What the tests of single losses share: the worked example, and random pairs."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

# The running example of the tests: probs (0.665241, 0.244728, 0.090031) of the
# teacher, (0.576117, 0.211942, 0.211942) of the student.
TEACHER = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
STUDENT = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)

temperatures = st.floats(0.5, 20)


@st.composite
def row_pairs(
    draw: st.DrawFn, min_columns: int = 2, bound: float = 8.0
) -> tuple[Tensor, Tensor]:
    """Two float64 tensors of one shape (rows, columns), student first."""
    shape = (2, draw(st.integers(1, 4)), draw(st.integers(min_columns, 5)))
    elements = st.floats(-bound, bound, allow_subnormal=False)
    student, teacher = draw(hnp.arrays(np.float64, shape, elements=elements))
    return torch.from_numpy(student), torch.from_numpy(teacher)


def maps(height: int = 4, width: int = 5, images: int = 2) -> tuple[Tensor, Tensor]:
    """Two random maps of different channels, student first."""
    student = torch.randn(images, 3, height, width, dtype=torch.float64)
    teacher = torch.randn(images, 6, height, width, dtype=torch.float64)
    return student, teacher


def rows(count: int = 6, width: int = 7) -> tuple[Tensor, Tensor]:
    """Two sets of random vectors of different channels, student first."""
    student = torch.randn(count, 4, dtype=torch.float64)
    return student, torch.randn(count, width, dtype=torch.float64)


def gradient(value: Tensor, student: Tensor) -> Tensor:
    """Derivative of a value by the student's tensor."""
    (derivative,) = torch.autograd.grad(value, student)
    return derivative


def backward(value: Tensor) -> None:
    """``value.backward()``, which torch leaves without types."""
    torch.autograd.backward([value])
