"""The theorem of linear distillation, on its exact cases."""

from importlib import import_module

import pytest
import torch
from torch import Tensor

study = import_module('tools.studies.linear_distillation')


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ('inputs', 'teacher', 'expected'),
    [
        (rows([1, 0]), [1, 1], [1, 0]),
        (rows([1, 1]), [2, 0], [1, 1]),
        (rows([1, 0], [1, 1]), [2, -1], [2, -1]),  # two that are independent
        (rows([1, 1], [2, 2]), [2, 0], [1, 1]),  # two that are not
    ],
)
def test_gradient_descent_ends_at_the_projection_onto_the_inputs(
    inputs: Tensor, teacher: list[float], expected: list[float]
) -> None:
    (teacher_weights, expected_weights) = rows(teacher, expected)
    predicted = study.closed_form(inputs, teacher_weights)
    torch.testing.assert_close(predicted, expected_weights)
    student = study.distil(inputs, teacher_weights, steps=500)[-1]
    torch.testing.assert_close(student, expected_weights, rtol=1e-3, atol=1e-3)


def test_the_sheet_of_the_theorem_writes_it_by_inverse() -> None:
    inputs = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).double()
    teacher = torch.arange(5.0, dtype=torch.float64)
    columns = inputs.T
    expected = columns @ (columns.T @ columns).inverse() @ columns.T @ teacher
    torch.testing.assert_close(study.closed_form(inputs, teacher), expected)


def test_what_the_inputs_do_not_span_stays_as_it_starts() -> None:
    start = torch.tensor([0.0, 7.0], dtype=torch.float64)
    teacher = torch.tensor([1.0, 1.0], dtype=torch.float64)
    student = study.distil(rows([1, 0]), teacher, start=start, steps=300)[-1]
    torch.testing.assert_close(student, rows([1, 7])[0], rtol=1e-3, atol=1e-3)


def test_at_that_rate_no_step_raises_the_loss() -> None:
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(6, generator=generator).double()
    inputs = study.draw(4, teacher, 3.0, generator)
    expected = study.closed_form(inputs, teacher)
    far = study.distance(study.distil(inputs, teacher, steps=50), expected)
    assert far[0] == 1
    assert (far[1:] < far[:-1]).all()


@pytest.mark.parametrize('stretch', [1.0, 4.0])
def test_risk_is_the_share_of_inputs_with_another_class(stretch: float) -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = torch.randn(2, 3, generator=generator).double()
    inputs = study.draw(100_000, teacher, stretch, generator)
    differ = (inputs @ student > 0) != (inputs @ teacher > 0)
    risk = study.transfer_risk(student, teacher, stretch)
    assert risk == pytest.approx(100 * differ.double().mean().item(), abs=0.6)
    assert study.transfer_risk(teacher, teacher, stretch) == pytest.approx(0, abs=1e-6)


def test_more_inputs_never_predict_a_larger_risk() -> None:
    generator = torch.Generator().manual_seed(3)
    teacher = torch.randn(8, generator=generator).double()
    inputs = study.draw(8, teacher, 1.0, generator)
    risks = [
        study.transfer_risk(study.closed_form(inputs[:count], teacher), teacher, 1.0)
        for count in range(1, 9)
    ]
    assert risks == sorted(risks, reverse=True)
    assert risks[-1] == pytest.approx(0, abs=1e-5)
