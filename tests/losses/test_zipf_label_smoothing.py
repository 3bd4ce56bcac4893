"""Zipf's label smoothing: the other classes fall as one over their rank."""

import math

import pytest
import torch
from hypothesis import given
from scipy.special import log_softmax
from scipy.stats import rankdata
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import LossContext, ZipfLabelSmoothingLoss, zipf_divergence
from kd_plugins.losses.zipf_label_smoothing import (
    ranks_of,
    votes_around,
    zipf_probs,
)

from ._cases import ALONE, LossCase, alone
from ._common import STUDENT, gradient, row_pairs

CASES = [
    LossCase(
        'zipf_label_smoothing', ZipfLabelSmoothingLoss, alone(4, 4), opt_outs=ALONE
    ),
    LossCase(
        'zipf_label_smoothing-maps',
        ZipfLabelSmoothingLoss,
        alone(3, 3, 1, 1),
        {'power': 2.0, 'ranked': 'others'},
        opt_outs=ALONE,
        mask_sides=(1, 1),
    ),
]

FIRST = torch.tensor([0])
SIGMOID = LossContext(activation='sigmoid')


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


# Worked out in float64 from the formula.
def test_ranks_one_to_three_by_hand() -> None:
    probs = zipf_probs(row(3, 2, 1, 0), FIRST, ranked='others')
    assert_close(probs, row(6 / 11, 3 / 11, 2 / 11))
    value = zipf_divergence(row(3, 2, 1, 0), target=FIRST, ranked='others')
    assert value.item() == pytest.approx(0.049046, abs=1e-6)
    loss = ZipfLabelSmoothingLoss(loss_weight=2.0, ranked='others')
    assert_close(loss(row(3, 2, 1, 0), target=FIRST), 2 * value)


def test_classes_of_one_score_share_a_rank() -> None:
    probs = zipf_probs(row(9, 5, 2, 2), FIRST, ranked='others')
    assert_close(probs, row(0.5, 0.25, 0.25))


def test_a_label_that_is_not_first_leaves_a_hole_in_the_ranks() -> None:
    logits = row(1, 3, 2, 0)
    # Ranks 1, 2 and 4 of the others.
    probs = zipf_probs(logits, FIRST)
    assert_close(probs, row(4 / 7, 2 / 7, 1 / 7))
    value = zipf_divergence(logits, target=FIRST)
    assert value.item() == pytest.approx(0.107598, abs=1e-6)
    value = zipf_divergence(logits, target=FIRST, ranked='others')
    assert value.item() == pytest.approx(0.172270, abs=1e-6)


@given(pair=row_pairs(min_columns=3))
def test_equals_scipy(pair: tuple[Tensor, Tensor]) -> None:
    logits, target = pair[0], torch.arange(len(pair[0])) % pair[0].shape[1]
    for ranked in ('all', 'others'):
        expected = []
        for values, label in zip(logits.numpy(), target.tolist(), strict=True):
            others = [column for column in range(len(values)) if column != label]
            ranks = rankdata(-values, method='min')[others]
            if ranked == 'others':
                ranks = rankdata(-values[others], method='min')
            zipf = ranks**-1.5 / (ranks**-1.5).sum()
            logs = log_softmax(values[others])
            expected.append(sum(zipf * [math.log(p) for p in zipf] - zipf * logs))
        value = zipf_divergence(
            logits, target=target, power=1.5, ranked=ranked, reduction='none'
        )
        assert_close(value, torch.tensor(expected, dtype=torch.float64))


def test_the_ranks_take_no_gradient_and_the_label_none() -> None:
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randint(5, (6,))
    derivative = gradient(zipf_divergence(logits, target=target), logits)
    assert not derivative.gather(1, target[:, None]).any()
    values = logits.detach()
    one_hot = torch.nn.functional.one_hot(target, 5).bool()
    q = values.masked_fill(one_hot, -math.inf).softmax(dim=1)[~one_hot].view(6, 4)
    zipf = zipf_probs(values, target)
    assert_close(derivative[~one_hot].view(6, 4), (q - zipf) / 6)


def test_of_two_classes_nothing_is_learned() -> None:
    value = zipf_divergence(torch.randn(5, 2), target=torch.randint(2, (5,)))
    assert value.item() == 0


def test_pixels_around_vote_and_masked_ones_do_not() -> None:
    # Three rows of pixels: first classes 0 0 1, 0 1 1, 2 2 2.
    first = torch.tensor([[[0, 0, 1], [0, 1, 1], [2, 2, 2]]])
    maps = torch.nn.functional.one_hot(first, 3).movedim(3, 1).double()
    votes = votes_around(maps, 3, None).view(3, 3, 3)
    assert_close(votes[1, 1], torch.tensor([3.0, 3, 3]) / 9)
    assert_close(votes[0, 0], torch.tensor([3.0, 1, 0]) / 9)  # the corner has four
    mask = torch.ones(1, 3, 3)
    mask[0, 2] = 0
    votes = votes_around(maps, 3, mask).view(3, 3, 3)
    assert_close(votes[1, 1], torch.tensor([3.0, 3, 0]) / 9)


def test_maps_are_ranked_by_votes_or_by_their_own_logits() -> None:
    maps, target = torch.randn(2, 4, 5, 6), torch.randint(4, (2, 5, 6))
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
    by_logits = zipf_divergence(maps, target=target, window=None)
    assert_close(by_logits, zipf_divergence(rows, target=target.flatten()))
    value = zipf_divergence(maps, target=target, window=3, reduction='none')
    zipf = zipf_probs(votes_around(maps, 3, None), target.flatten())
    keep = torch.nn.functional.one_hot(target.flatten(), 4) == 0
    others = rows[keep].view(-1, 3).log_softmax(dim=1)
    assert_close(value, (zipf * (zipf.log() - others)).sum(dim=1))


def test_ranks_of_many_classes() -> None:
    scores = torch.randint(20, (4, 150)).float()
    expected = (scores[:, :, None] < scores[:, None, :]).sum(dim=2) + 1
    assert torch.equal(ranks_of(scores), expected)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(power=0), 'power must be a finite number > 0'),
        (dict(window=4), 'window must be an odd number of pixels, got 4'),
        (dict(window=0), 'window must be a whole number >= 1'),
        (dict(ranked='some'), "ranked must be 'all' or 'others'"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ZipfLabelSmoothingLoss(**options)
    with pytest.raises(ConfigError, match=message):
        zipf_divergence(STUDENT, target=FIRST, **options)


def test_logits_of_a_sigmoid_and_missing_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match='needs the logits of one softmax'):
        ZipfLabelSmoothingLoss()(STUDENT, target=FIRST, context=SIGMOID)
    with pytest.raises(ShapeError, match=r'needs a label for each row, \(1,\)'):
        ZipfLabelSmoothingLoss()(STUDENT)
