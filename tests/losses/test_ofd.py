"""Overhaul distillation: margins of a batch norm, and what passes the ReLU."""

import copy
import math
from typing import Any

import pytest
import torch
from scipy.stats import truncnorm
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import LossContext, OFDLoss, negative_mean, partial_l2
from kd_plugins.losses import ofd as module

from ._cases import LossCase, features
from ._common import gradient

CASES = [
    LossCase(
        'ofd',
        OFDLoss,
        features(3, 2, 4),
        context=LossContext(teacher_norm=nn.BatchNorm2d(3)),
    ),
    LossCase('ofd-vectors', OFDLoss, features(6), {'margin': -0.5}),
]

MARGIN = -0.7978845608  # of scale 1 and shift 0


def norm_of(weight: list[float], bias: list[float]) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(len(weight))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(weight))
        norm.bias.copy_(torch.tensor(bias))
    return norm


def naive(student: Tensor, teacher: Tensor, margins: list[float]) -> list[float]:
    """Number by number, sample by sample."""
    values = []
    for student_item, teacher_item in zip(
        student.tolist(), teacher.tolist(), strict=True
    ):
        total = 0.0
        for channel, margin in enumerate(margins):
            for s, x in zip(
                torch.tensor(student_item[channel], dtype=torch.float64)
                .flatten()
                .tolist(),
                torch.tensor(teacher_item[channel], dtype=torch.float64)
                .flatten()
                .tolist(),
                strict=True,
            ):
                t = max(x, margin)
                if not s <= t <= 0:
                    total += (t - s) ** 2
        values.append(total)
    return values


# Margins


@pytest.mark.parametrize(
    ('weight', 'bias', 'expected'),
    [
        (1, 0, -0.797885),
        (2, 1, -1.282155),
        (1, -1, -1.287600),
        (1, 4, -3.0),
        (-2, 1, -1.282155),  # the scale is the weight's size
        (0, 1, 0.0),
        (0, -1, -1.0),
    ],
)
def test_margins_by_hand(weight: float, bias: float, expected: float) -> None:
    margin = negative_mean(torch.tensor([float(weight)]), torch.tensor([float(bias)]))
    assert margin.item() == pytest.approx(expected, abs=1e-6)


def test_margins_equal_the_mean_of_a_truncated_normal() -> None:
    weight = torch.rand(40, dtype=torch.float64) + 0.5
    bias = 2 * torch.randn(40, dtype=torch.float64).clamp(-2, 0.7)
    g, b = weight.numpy(), bias.numpy()
    expected = truncnorm.mean(-math.inf, -b / g, loc=b, scale=g)
    assert_close(negative_mean(weight, bias), torch.from_numpy(expected))
    single = negative_mean(weight.float(), bias.float())
    assert_close(single, torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-5)


def test_margins_are_finite_negative_and_without_gradient() -> None:
    weight = torch.tensor([0.0, 0.0, 1e-20, 1e4, 1e4, 1e-4], requires_grad=True)
    bias = torch.tensor([0.0, 1e4, -1e4, 1e4, -1e4, 1.0], requires_grad=True)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        margins = negative_mean(weight.to(dtype), bias.to(dtype))
        assert margins.dtype == torch.float32 and not margins.requires_grad
        assert margins.isfinite().all() and (margins <= 0).all()


# Distance


def test_four_numbers_by_hand() -> None:
    teacher = torch.tensor([[-2.0, -2.0, 2.0, -0.5]]).view(1, 1, 1, 4)
    student = torch.tensor([[-1.0, 0.5, -1.0, -0.4]]).view(1, 1, 1, 4)
    margin = torch.tensor([MARGIN])
    each = [
        partial_l2(student[..., [i]], teacher[..., [i]], margin=margin).item()
        for i in range(4)
    ]
    assert each == pytest.approx([0, 1.684504, 9, 0.01], abs=1e-6)
    whole = partial_l2(student, teacher, margin=margin)
    assert whole.item() == pytest.approx(sum(each))  # the sum, not the mean


@pytest.mark.parametrize('shape', [(3, 4, 5, 2), (6, 4)])
def test_equals_a_naive_loop(shape: tuple[int, ...]) -> None:
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    margins = [-0.1, -0.7, 0.0, -2.5]
    value = partial_l2(
        student, teacher, margin=torch.tensor(margins).double(), reduction='none'
    )
    assert value.tolist() == pytest.approx(naive(student, teacher, margins))
    value = partial_l2(student, teacher, margin=-0.3)
    assert value.item() == pytest.approx(
        sum(naive(student, teacher, 4 * [-0.3])) / shape[0]
    )


def test_gradient_ends_where_the_student_is_low_enough() -> None:
    teacher = torch.tensor([[-2.0, -2.0, -0.5, -0.5, 2.0, 2.0]])
    student = torch.tensor([[-1.0, 0.5, -0.6, -0.4, 1.0, 3.0]], requires_grad=True)
    value = partial_l2(student, teacher, margin=MARGIN)
    expected = [0, 2 * (0.5 - MARGIN), 0, 0.2, -2, 2]
    assert gradient(value, student)[0].tolist() == pytest.approx(expected)


def test_negative_responses_of_the_teacher_are_all_alike_below_the_margin() -> None:
    student = torch.randn(2, 3, 4, 4)
    teacher = -1 - torch.rand(2, 3, 4, 4)
    value = partial_l2(student, teacher, margin=-1.0)
    assert torch.equal(partial_l2(student, 100 * teacher, margin=-1.0), value)
    limit = torch.full_like(teacher, -1)
    assert_close(value, partial_l2(student, limit, margin=-5.0))


def test_scales_with_the_square_of_the_feature() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    value = partial_l2(student, teacher, margin=-0.5)
    assert_close(partial_l2(3 * student, 3 * teacher, margin=-1.5), 9 * value)
    assert abs(partial_l2(teacher, student, margin=-0.5) - value) > 1e-3


def test_grows_with_the_map_as_in_the_paper() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    tiled = partial_l2(student.repeat(1, 1, 2, 3), teacher.repeat(1, 1, 2, 3))
    assert_close(tiled, 6 * partial_l2(student, teacher))


def test_finite_for_features_of_a_hundred_deviations() -> None:
    student, teacher = 100 * torch.randn(2, 2, 8, 16, 16)
    student.requires_grad_()
    value = partial_l2(student, teacher, margin=-50.0)
    assert value.isfinite() and gradient(value, student).isfinite().all()


# The module, and what the view tells it


def test_margins_of_the_teachers_batch_norm_channel_by_channel() -> None:
    student, teacher = torch.randn(2, 2, 2, 3, 3)
    norm = norm_of([1.0, 2.0], [0.0, 1.0])
    value = OFDLoss(loss_weight=0.5)(
        student, teacher, context=LossContext(teacher_norm=norm)
    )
    margins = torch.tensor([-0.797885, -1.282155])
    assert_close(value, 0.5 * partial_l2(student, teacher, margin=margins))
    plain = LossContext(teacher_norm=nn.BatchNorm2d(2, affine=False))
    value = OFDLoss()(student, teacher, context=plain)
    assert_close(value, partial_l2(student, teacher, margin=MARGIN))


def test_a_number_needs_no_batch_norm() -> None:
    student, teacher = torch.randn(2, 2, 2, 3, 3)
    context = LossContext(teacher_norm=norm_of([1.0, 2.0], [0.0, 1.0]))
    for margin in (0, -0.5):
        expected = partial_l2(student, teacher, margin=margin)
        assert_close(OFDLoss(margin=margin)(student, teacher), expected)
        value = OFDLoss(margin=margin)(student, teacher, context=context)
        assert_close(value, expected)


def test_margins_are_computed_once_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Tensor] = []

    def counted(weight: Tensor, bias: Tensor) -> Tensor:
        calls.append(weight)
        return negative_mean(weight, bias)

    monkeypatch.setattr(module, 'negative_mean', counted)
    norms = [norm_of([1.0], [0.0]), norm_of([2.0], [1.0])]
    loss = OFDLoss()
    student, teacher = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), -9.0)
    for _ in range(2):
        for level, norm in enumerate(norms):
            context = LossContext(level=level, teacher_norm=norm)
            value = loss(student, teacher, context=context)
            assert value.item() == pytest.approx([MARGIN, -1.282155][level] ** 2)
    assert [id(weight) for weight in calls] == [id(norm.weight) for norm in norms]
    assert not loss.state_dict() and not list(loss.parameters())
    assert not list(loss.children())
    copy.deepcopy(loss)  # as EMA does


def test_a_copied_context_shares_the_teachers_norm() -> None:
    context = LossContext(teacher_norm=nn.BatchNorm2d(2))
    assert copy.deepcopy([context])[0].teacher_norm is context.teacher_norm
    assert context == LossContext() and 'BatchNorm' not in repr(context)


# Bad input


@pytest.mark.parametrize('context', [None, LossContext(teacher_norm=nn.ReLU())])
def test_auto_without_batch_norm_names_the_remedy(context: LossContext | None) -> None:
    message = r"margin='auto' .* there is none.*value='input'.*or set margin=0"
    with pytest.raises(ConfigError, match=message):
        OFDLoss()(torch.zeros(1, 2), torch.zeros(1, 2), context=context)


@pytest.mark.parametrize(
    'margin', [0.1, math.nan, -math.inf, True, None, 'none', [0.0], 1]
)
def test_impossible_margins_are_refused(margin: Any) -> None:
    message = r"margin must be 'auto' or a finite number <= 0, got "
    with pytest.raises(ConfigError, match=message):
        OFDLoss(margin=margin)


def test_margins_are_one_a_channel() -> None:
    message = r'margin must be \(2,\), one number per channel, got \(3,\)'
    with pytest.raises(ShapeError, match=message):
        partial_l2(torch.zeros(1, 2), torch.zeros(1, 2), margin=torch.zeros(3))
