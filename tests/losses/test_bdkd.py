"""BD-KD: both divergences, balanced by who is the surer."""

import pytest
import torch
from hypothesis import given
from scipy.special import entr, expit, rel_entr, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import (
    BDKDLoss,
    LossContext,
    balanced_divergence,
    softened_divergence,
)

from ._cases import LossCase, features, logits
from ._common import STUDENT, TEACHER, gradient, row_pairs, temperatures

CASES = [
    LossCase('bdkd', BDKDLoss, logits(4), {'temperature': 2.0}),
    LossCase('bdkd-maps', BDKDLoss, features(3, 1, 1), mask_sides=(1, 1)),
    LossCase(
        'bdkd-sigmoid',
        BDKDLoss,
        logits(3),
        {'sharpness': 2.0},
        LossContext(activation='sigmoid'),
        opt_outs={'test_gradcheck': 'the weights go by entropies, without gradient'},
    ),
]


def test_running_example() -> None:
    """Entropies 0.832396 of the teacher, 0.975328 of the student: it is less sure."""
    forward, reverse = 0.053808, 0.068103
    for options, expected in (
        (dict(high=0.0, low=0.5), forward),
        (dict(high=1.0, low=0.5), reverse),
        (dict(), 0.25 * forward + 0.75 * reverse),
    ):
        value = balanced_divergence(STUDENT, TEACHER, **options)
        assert value.item() == pytest.approx(expected, abs=1e-6)
    # Where it is the surer of the two, the other weight holds.
    value = balanced_divergence(TEACHER, STUDENT)
    assert value.item() == pytest.approx(0.75 * reverse + 0.25 * forward, abs=1e-6)


def test_running_example_with_a_smooth_gate() -> None:
    gate = expit(3 * (0.975328 - 0.832396))
    expected = (1 - gate) * 0.053808 + gate * 0.068103
    value = balanced_divergence(STUDENT, TEACHER, high=1.0, low=0.0, sharpness=3.0)
    assert value.item() == pytest.approx(expected, abs=1e-6)


@given(pair=row_pairs(), temperature=temperatures)
def test_equals_scipy(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = (softmax(item.numpy() / temperature, axis=1) for item in pair)
    gap = entr(student).sum(1) - entr(teacher).sum(1)
    weight = 0.1 + 0.8 * expit(2 * gap)
    expected = (1 - weight) * rel_entr(teacher, student).sum(1)
    expected += weight * rel_entr(student, teacher).sum(1)
    value = balanced_divergence(
        *pair,
        high=0.9,
        low=0.1,
        sharpness=2.0,
        temperature=temperature,
        reduction='none',
    )
    expected = temperature**2 * torch.from_numpy(expected)
    assert_close(value, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('sharpness', [None, 4.0])
def test_sigmoid_equals_a_loop(sharpness: float | None) -> None:
    pair = 2 * torch.randn(2, 6, 3, dtype=torch.float64)
    expected = torch.zeros(6, dtype=torch.float64)
    for row in range(6):
        for column in range(3):
            p, q = ((expit(z / 2), expit(-z / 2)) for z in pair[:, row, column].numpy())
            gap = entr(p).sum() - entr(q).sum()
            gate = float(gap > 0) if sharpness is None else expit(sharpness * gap)
            weight = 0.25 + 0.5 * gate
            both = rel_entr(q, p).sum(), rel_entr(p, q).sum()
            expected[row] += 4 * ((1 - weight) * both[0] + weight * both[1])
    loss = BDKDLoss(temperature=2.0, sharpness=sharpness, reduction='none')
    value = loss(*pair, context=LossContext(activation='sigmoid'))
    assert_close(value, expected)


@given(pair=row_pairs(min_columns=1), temperature=temperatures)
def test_weights_of_0_are_hintons_loss_and_of_1_its_reverse(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    student, teacher = pair
    options = dict(temperature=temperature, use_sigmoid=student.shape[1] == 1)
    forward = balanced_divergence(student, teacher, high=0.0, low=0.0, **options)
    assert_close(forward, softened_divergence(student, teacher, **options))
    reverse = balanced_divergence(student, teacher, high=1.0, low=1.0, **options)
    assert_close(reverse, softened_divergence(teacher, student, **options))


@pytest.mark.parametrize('sharpness', [None, 2.0])
def test_the_weights_take_no_gradient(sharpness: float | None) -> None:
    student, teacher = torch.randn(2, 1, 4, dtype=torch.float64)
    student.requires_grad_()
    options = dict(temperature=2.0)
    both = [
        balanced_divergence(student, teacher, high=weight, low=weight, **options)
        for weight in (0.0, 1.0)
    ]
    value = balanced_divergence(student, teacher, sharpness=sharpness, **options)
    weight = ((value - both[0]) / (both[1] - both[0])).detach()
    expected = (1 - weight) * gradient(both[0], student)
    expected = expected + weight * gradient(both[1], student)
    assert_close(gradient(value, student), expected)


def test_the_teachers_own_side_is_the_reverse_with_the_two_exchanged() -> None:
    """Online, as in the paper: it learns by KL(teacher || student), all of it."""
    student, teacher = torch.randn(2, 6, 4, dtype=torch.float64)
    teacher.requires_grad_()
    value = BDKDLoss(high=1.0, low=1.0)(teacher, student)
    expected = torch.nn.functional.kl_div(
        student.log_softmax(1),
        teacher.log_softmax(1),
        reduction='batchmean',
        log_target=True,
    )
    assert_close(value, expected)
    assert_close(gradient(value, teacher), gradient(expected, teacher))


def test_a_sharp_gate_is_a_step() -> None:
    student, teacher = torch.randn(2, 8, 4)
    value = balanced_divergence(student, teacher, sharpness=1e6)
    assert_close(value, balanced_divergence(student, teacher))


def test_ignores_a_constant_added_to_a_row_and_the_order_of_classes() -> None:
    student, teacher = torch.randn(2, 6, 4)
    value = balanced_divergence(student, teacher)
    shifts, order = torch.randn(2, 6, 1), torch.randperm(4)
    changed = balanced_divergence(
        (student + shifts[0])[:, order], (teacher + shifts[1])[:, order]
    )
    assert_close(changed, value)


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_finite_in_float32_on_a_hundred_deviations(use_sigmoid: bool) -> None:
    student, teacher = 100 * torch.randn(2, 64, 5)
    student.requires_grad_()
    value = balanced_divergence(student, teacher, use_sigmoid=use_sigmoid)
    assert value.isfinite()
    assert gradient(value, student).isfinite().all()
    # Of entropies that are 0 in float32 the gate cannot tell which is the larger.
    options = dict(high=0.6, low=0.6, use_sigmoid=use_sigmoid)
    value = balanced_divergence(student, teacher, **options)
    exact = balanced_divergence(student.double(), teacher.double(), **options)
    assert_close(value, exact.float())


def test_maps_are_rows() -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4)
    mask = (torch.rand(2, 3, 4) > 0.4).float()
    rows = [item.permute(0, 2, 3, 1)[mask > 0] for item in (student, teacher)]
    value = BDKDLoss()(student, teacher, mask=mask)
    assert_close(value, balanced_divergence(*rows))


def test_module_hands_its_options_on() -> None:
    options = dict(high=0.9, low=0.4, sharpness=2.0, temperature=3.0, use_sigmoid=True)
    value = BDKDLoss(loss_weight=2.0, **options)(STUDENT, TEACHER)
    assert_close(value, 2 * balanced_divergence(STUDENT, TEACHER, **options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(high=1.5), 'high must be a share, 0 to 1, got 1.5'),
        (dict(low=-0.1), 'low must be a finite number >= 0, got -0.1'),
        (dict(sharpness=0), 'sharpness must be a finite number > 0, got 0'),
        (dict(temperature=0), 'temperature must be a finite number > 0, got 0'),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BDKDLoss(**options)
    with pytest.raises(ConfigError, match=message):
        balanced_divergence(STUDENT, TEACHER, **options)


def test_softmax_over_one_column_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'over 1 column .* set use_sigmoid=True'):
        BDKDLoss(use_sigmoid=False)(STUDENT[:, :1], TEACHER[:, :1])
