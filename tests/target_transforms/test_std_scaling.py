"""Standard scaling: logits of both over their own deviation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import LossContext, softened_divergence
from kd_plugins.target_transforms import (
    ComparedRows,
    StdScalingTransform,
    std_scaled,
)
from tests.losses._common import STUDENT, TEACHER, row_pairs

CONTEXT = LossContext(activation='softmax')


def scaled(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None
) -> ComparedRows:
    return StdScalingTransform()(ComparedRows(student, teacher, mask), CONTEXT)


def test_running_example() -> None:
    """Deviations 0.577350 of the student, 1 of the teacher."""
    rows = scaled(STUDENT, TEACHER)
    assert_close(rows.student, STUDENT / 0.577350, atol=1e-5, rtol=0)
    assert_close(rows.teacher, TEACHER)
    value = softened_divergence(rows.student, rows.teacher)
    assert value.item() == pytest.approx(0.050371, abs=1e-6)


@given(pair=row_pairs(min_columns=3))
def test_equals_numpy(pair: tuple[Tensor, Tensor]) -> None:
    logits = pair[0]
    deviation = np.std(logits.numpy(), axis=1, ddof=1, keepdims=True)
    expected = logits.numpy() / np.maximum(deviation, 1e-4)
    assert_close(std_scaled(logits), torch.from_numpy(expected))


@given(pair=row_pairs(min_columns=3), factor=st.floats(0.5, 8), shift=st.floats(-5, 5))
def test_neither_scale_nor_offset_of_a_row_matters(
    pair: tuple[Tensor, Tensor], factor: float, shift: float
) -> None:
    if (torch.cat(pair).std(dim=1) < 0.1).any():
        return
    student, teacher = pair
    rows = scaled(student, teacher)
    changed = scaled(student + shift, factor * teacher + shift)
    assert_close(
        softened_divergence(changed.student, changed.teacher),
        softened_divergence(rows.student, rows.teacher),
        atol=1e-6,
        rtol=1e-6,
    )


def test_the_students_deviation_takes_a_gradient_and_the_teacher_none() -> None:
    student, teacher = torch.randn(2, 4, 5, dtype=torch.float64)
    student.requires_grad_()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(std_scaled, (student,))
    rows = scaled(student, teacher)
    assert rows.student.requires_grad and not rows.teacher.requires_grad


def test_constant_rows_are_finite_forward_and_back() -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    rows = scaled(student, torch.ones(2, 3))
    assert rows.teacher.isfinite().all()
    (derivative,) = torch.autograd.grad(rows.student.sum(), student)
    assert derivative.isfinite().all()


def test_masked_rows_may_be_anything() -> None:
    student = torch.randn(2, 3)
    student[1] = torch.inf
    student.requires_grad_()
    rows = scaled(student, torch.randn(2, 3), torch.tensor([1.0, 0.0]))
    (derivative,) = torch.autograd.grad(rows.student.sum(), student)
    assert derivative.isfinite().all()


def test_pixels_of_maps_are_rows() -> None:
    maps = torch.randn(2, 4, 3, 5)
    rows = std_scaled(maps.movedim(1, 3).flatten(0, 2))
    assert_close(std_scaled(maps).movedim(1, 3).flatten(0, 2), rows)


def test_what_has_no_deviation_of_use_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'three columns or more, logits are \(4, 2\)'):
        scaled(torch.zeros(4, 2), torch.zeros(4, 2))
    sigmoid = LossContext(activation='sigmoid')
    rows = ComparedRows(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(ConfigError, match='needs the logits of one softmax'):
        StdScalingTransform()(rows, sigmoid)
