"""DarkRank: the order of the samples a sample is most alike."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import DarkRankLoss, cross_sample_ranking

from ._cases import RELATIONS, LossCase, features
from ._common import gradient, rows

NEAREST_SAMPLES = {
    'test_repeating_the_batch_leaves_the_mean': (
        'of a batch repeated the nearest are copies: it is a list of others'
    ),
}
CASES = [
    LossCase(
        'darkrank', DarkRankLoss, features(6), opt_outs=RELATIONS | NEAREST_SAMPLES
    ),
    LossCase(
        'darkrank-squared',
        DarkRankLoss,
        features(6),
        {'squared': True, 'scale': 3.5, 'power': 2.0},
        opt_outs=RELATIONS | NEAREST_SAMPLES,
    ),
    LossCase(
        'darkrank-hard',
        DarkRankLoss,
        features(6),
        {'mode': 'hard'},
        opt_outs=RELATIONS
        | NEAREST_SAMPLES
        | {
            'test_zero_where_student_equals_teacher': (
                'the likelihood of one order, which is never sure'
            ),
        },
    ),
]

MODES = pytest.mark.parametrize('mode', ['soft', 'hard'])


def naive(
    student: Tensor,
    teacher: Tensor,
    mode: str,
    scale: float = 3.0,
    power: float = 3.0,
    squared: bool = False,
    list_length: int | None = None,
) -> list[float]:
    """Query by query, order by order, with products of probabilities."""

    def scores(item: Tensor) -> np.ndarray:
        array = item.detach().numpy()
        array = array / np.linalg.norm(array, axis=1, keepdims=True)
        distances = np.array([[np.linalg.norm(a - b) for a in array] for b in array])
        if squared:
            return -((scale * distances**2) ** power)
        return -scale * distances**power

    def probability(scores: np.ndarray) -> float:
        product = 1.0
        for index in range(len(scores)):
            tail = [math.exp(item) for item in scores[index:]]
            product *= tail[0] / sum(tail)
        return product

    values = []
    for query, (student_row, teacher_row) in enumerate(
        zip(scores(student), scores(teacher), strict=True)
    ):
        others = [sample for sample in range(len(student)) if sample != query]
        others.sort(key=lambda sample: -teacher_row[sample])
        if mode == 'soft':
            others = others[: list_length or 4]
            value = 0.0
            for order in itertools.permutations(others):
                share = probability(teacher_row[list(order)])
                value += share * math.log(share / probability(student_row[list(order)]))
        else:
            others = others[:list_length]
            value = -math.log(probability(student_row[others]))
        values.append(value)
    return values


# At squared distances 1 and 2 of the first row; and both at 2.
TEACHER = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.75**0.5, 0.0], [0.0, 0.0, 1.0]])
EQUAL = torch.eye(3)


def test_a_list_of_two_by_hand() -> None:
    options: dict[str, Any] = dict(scale=1.0, power=2.0, reduction='none')
    hard = cross_sample_ranking(TEACHER, TEACHER, mode='hard', **options)[0].item()
    assert hard == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)
    assert hard == pytest.approx(0.313262, abs=1e-6)
    soft = cross_sample_ranking(EQUAL, TEACHER, **options)[0].item()
    p = 1 / (1 + math.exp(-1))
    expected = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    assert soft == pytest.approx(expected, rel=1e-5)
    assert soft == pytest.approx(0.110944, abs=1e-6)


OPTIONS = [
    {},
    {'list_length': 2},
    {'list_length': 5},
    {'scale': 3.5, 'power': 2.0, 'squared': True},
    {'scale': 0.5, 'power': 1.0},
]


@MODES
@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('count', [3, 4, 7])
def test_equals_a_naive_loop(mode: str, options: dict[str, Any], count: int) -> None:
    student, teacher = rows(count)
    each = cross_sample_ranking(
        student, teacher, mode=mode, reduction='none', **options
    )
    expected = naive(student, teacher, mode, **options)
    assert each.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_hard_of_four_equals_a_later_implementation_and_its_gradient() -> None:
    student, teacher = rows(9)
    student.requires_grad_()

    def scores(item: Tensor) -> Tensor:
        item = F.normalize(item)
        squared = 2 - 2 * item @ item.T
        distances = squared.clamp(min=1e-12).sqrt()
        return -3 * (distances * (1 - torch.eye(9))).pow(3)

    order = scores(teacher).sort(dim=1, descending=True)[1][:, 1:5]
    student_scores = scores(student).gather(1, order)
    tails = torch.stack(
        [torch.logsumexp(student_scores[:, i:], dim=1) for i in range(4)], dim=1
    )
    expected = -(student_scores - tails).sum(dim=1).mean()
    value = cross_sample_ranking(student, teacher, mode='hard', list_length=4)
    assert_close(value, expected)
    assert_close(gradient(value, student), gradient(expected, student))


@MODES
def test_gradcheck_of_a_whole_list(mode: str) -> None:
    student, teacher = rows(6)
    mask = torch.tensor([1.0, 1, 0, 1, 1, 1])
    assert torch.autograd.gradcheck(
        lambda item: cross_sample_ranking(item, teacher, mode=mode, mask=mask),
        (student.requires_grad_(),),
    )


@pytest.mark.parametrize('kept', [3, 4, 6])
@MODES
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_lists_shortened_by_a_mask(mode: str, kept: int, dtype: torch.dtype) -> None:
    """Whatever is beyond the end of a list has no part in it."""
    student, teacher = (item.to(dtype).requires_grad_() for item in rows(9))
    mask = torch.zeros(9)
    mask[:kept] = 1
    value = cross_sample_ranking(student, teacher, mode=mode, mask=mask)
    alone = cross_sample_ranking(student[:kept], teacher[:kept], mode=mode)
    assert_close(value, alone)
    assert_close(gradient(value, student), gradient(alone, student))


@MODES
def test_lengths_and_mixing_of_the_channels_do_not_matter(mode: str) -> None:
    student, teacher = rows(7)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    lengths = torch.rand(7, 1, dtype=torch.float64) + 0.1
    changed = cross_sample_ranking(
        1e-5 * lengths * student @ rotation, teacher, mode=mode
    )
    assert_close(changed, cross_sample_ranking(student, teacher, mode=mode))


def test_hard_is_least_in_the_order_of_the_teacher() -> None:
    _, teacher = rows(7)
    same = cross_sample_ranking(teacher, teacher, mode='hard')
    shuffled = cross_sample_ranking(
        teacher[[1, 0, 2, 3, 4, 5, 6]], teacher, mode='hard'
    )
    assert 0 < same < shuffled


def test_swapping_student_and_teacher_changes_it() -> None:
    student, teacher = rows(7)
    forward = cross_sample_ranking(student, teacher)
    assert abs(forward - cross_sample_ranking(teacher, student)) > 1e-3


@MODES
@pytest.mark.parametrize('count', [0, 1, 2])
def test_fewer_than_three_samples_are_zero(mode: str, count: int) -> None:
    student, teacher = rows(count)
    value = cross_sample_ranking(student.requires_grad_(), teacher, mode=mode)
    assert value.item() == 0
    assert gradient(value, student).norm() < 1e-12


@MODES
@pytest.mark.parametrize('power', [1.0, 3.0])
@pytest.mark.parametrize('fill', [0.0, 2.0])
def test_samples_that_are_all_equal(mode: str, power: float, fill: float) -> None:
    student = torch.full((5, 3), fill, requires_grad=True)
    teacher = torch.full((5, 6), fill)
    value = cross_sample_ranking(student, teacher, mode=mode, power=power)
    # Nobody is nearer: any of the 4! orders is as good.
    expected = 0 if mode == 'soft' else math.log(24)
    assert value.item() == pytest.approx(expected, abs=1e-5)
    assert gradient(value, student).norm() < 1e-3


@MODES
@pytest.mark.parametrize('power', [1.0, 3.0])
def test_equal_and_dead_samples_give_neither_infinity_nor_nan(
    mode: str, power: float
) -> None:
    student, teacher = (item.float() for item in rows(7))
    student[1:3] = 0
    student[4] = student[5]
    student.requires_grad_()
    value = cross_sample_ranking(student, teacher, mode=mode, power=power)
    student_gradient = gradient(value, student)
    assert value > 0
    assert student_gradient.isfinite().all()
    assert not student_gradient[1:3].any()


@MODES
def test_finite_for_a_hundred_standard_deviations(mode: str) -> None:
    student, teacher = 100 * torch.randn(2, 64, 256)
    student.requires_grad_()
    value = cross_sample_ranking(
        student, teacher, mode=mode, squared=True, scale=3.5, power=2.0
    )
    assert value > 0
    assert value.isfinite()
    assert gradient(value, student).isfinite().all()


@pytest.mark.parametrize('options', [*OPTIONS, {'mode': 'hard', 'list_length': 6}])
def test_module_hands_its_options_on(options: dict[str, Any]) -> None:
    student, teacher = rows(7)
    value = DarkRankLoss(loss_weight=2.0, **options)(student, teacher)
    assert_close(value, 2 * cross_sample_ranking(student, teacher, **options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mode='listnet'), "mode must be 'soft' or 'hard', got 'listnet'"),
        (dict(scale=0), 'scale must be a finite number > 0, got 0'),
        (dict(power=-1), 'power must be a finite number > 0, got -1'),
        (dict(list_length=1), 'list_length must be a whole number >= 2, got 1'),
        (dict(list_length=6), "at most 5 for mode='soft', .* got 6. Shorten it, or"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DarkRankLoss(**options)
    with pytest.raises(ConfigError, match=message):
        cross_sample_ranking(*rows(7), **options)
