"""Batch knowledge ensembling: rows that resemble one another teach one another."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import BAKELoss, LossContext, batch_ensembled_divergence
from kd_plugins.losses.bake import affinity, balanced_sample, ensemble

from ._cases import SELF_LABELLED, LossCase, alone
from ._common import gradient

CASES = [
    LossCase(
        'bake',
        BAKELoss,
        alone(4, 4, features=6),
        opt_outs=SELF_LABELLED
        | {
            'test_repeating_the_batch_leaves_the_mean': (
                'a row then listens to a copy of itself'
            ),
        },
    ),
]

SIGMOID = LossContext(activation='sigmoid')
LOGITS = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
FEATURES = torch.eye(2, dtype=torch.float64)


def kept(number: int) -> Tensor:
    return torch.ones(number, dtype=torch.bool)


# Worked out in float64 from the formula.
def test_two_rows_by_hand() -> None:
    assert_close(affinity(FEATURES, kept(2)), 1 - FEATURES)
    probs = (LOGITS / 4).softmax(dim=1)
    assert_close(
        probs[0], torch.tensor([0.622459, 0.377541]).double(), atol=1e-6, rtol=0
    )
    mixed = ensemble(probs, FEATURES, kept(2), 0.5)[0]
    assert_close(mixed, torch.tensor([0.540820, 0.459180]).double(), atol=1e-6, rtol=0)
    value = batch_ensembled_divergence(LOGITS, features=FEATURES)
    assert value.item() == pytest.approx(0.221698, abs=1e-6)
    loss = BAKELoss(loss_weight=2.0)
    twice = loss(LOGITS, features=FEATURES, target=torch.tensor([0, 1]))
    assert_close(twice, 2 * value)


@pytest.mark.parametrize(('omega', 'own'), [(0.5, 2 / 3), (0.9, 0.526316)])
def test_mixing_of_two_rows(omega: float, own: float) -> None:
    mixing = ensemble(FEATURES, FEATURES, kept(2), omega)  # of one-hot probabilities
    expected = torch.tensor([[own, 1 - own], [1 - own, own]], dtype=torch.float64)
    assert_close(mixing, expected, atol=1e-6, rtol=0)


def test_affinity_of_three_rows() -> None:
    """Softmax of the cosines 1 and 0 to the others: e / (e + 1)."""
    features = torch.tensor([[3.0, 0.0], [0.5, 0.0], [0.0, 2.0]])
    expected = [0.0, math.e / (math.e + 1), 1 / (math.e + 1)]
    assert_close(affinity(features, kept(3))[0], torch.tensor(expected))


def test_equals_propagation_without_end() -> None:
    """numpy, step by step: Q <- omega A Q + (1 - omega) P."""
    logits, features = torch.randn(7, 4).double(), torch.randn(7, 3).double()
    rows = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    weights = np.exp(rows @ rows.T) * (1 - np.eye(7))
    weights /= weights.sum(axis=1, keepdims=True)
    p = np.exp(logits.numpy() / 3)
    p /= p.sum(axis=1, keepdims=True)
    q = p
    for _ in range(200):
        q = 0.8 * weights @ q + 0.2 * p
    expected = 9 * (q * np.log(q / p)).sum(axis=1)
    value = batch_ensembled_divergence(
        logits, features=features, temperature=3.0, omega=0.8, reduction='none'
    )
    assert_close(value, torch.from_numpy(expected))


def test_ensembles_are_probabilities() -> None:
    probs = torch.randn(9, 4).double().softmax(dim=1)
    mixed = ensemble(probs, torch.randn(9, 5).double(), kept(9), 0.9)
    assert_close(mixed.sum(dim=1), torch.ones(9).double())
    assert (mixed > 0).all()


def test_omega_zero_takes_nothing_from_others() -> None:
    value = batch_ensembled_divergence(
        torch.randn(5, 3), features=torch.randn(5, 2), omega=0.0
    )
    assert value.item() == pytest.approx(0, abs=1e-6)


def test_the_ensemble_takes_no_gradient() -> None:
    logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    features = torch.randn(6, 3, dtype=torch.float64)
    p = (logits.detach() / 4).softmax(dim=1)
    q = ensemble(p, features, kept(6), 0.5)
    value = batch_ensembled_divergence(logits, features=features)
    assert_close(gradient(value, logits), 4 * (p - q) / 6)


@pytest.mark.parametrize('number', [0, 1, 2])
def test_few_rows_give_a_finite_value_with_a_graph(number: int) -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    mask = torch.tensor([1.0] * number + [0.0] * (3 - number))
    value = batch_ensembled_divergence(logits, features=torch.randn(3, 5), mask=mask)
    assert value.grad_fn is not None
    assert (value.item() > 1e-6) == (number == 2)
    assert gradient(value, logits).isfinite().all()


def test_rois_of_the_background_teach_nobody() -> None:
    logits, features = torch.randn(6, 4), torch.randn(6, 5)
    target = torch.tensor([0, 3, 1, 3, 2, 0])
    objects = target != 3
    context = LossContext(activation='softmax', background=3)
    value = BAKELoss()(
        logits, features=features, target=target, avg_factor=6.0, context=context
    )
    expected = batch_ensembled_divergence(logits[objects], features=features[objects])
    assert_close(value, expected)
    every = BAKELoss(with_background=True)(
        logits, features=features, target=target, context=context
    )
    assert_close(every, batch_ensembled_divergence(logits, features=features))


def test_pixels_are_rows() -> None:
    logits, features = torch.randn(2, 4, 3, 5), torch.randn(2, 6, 3, 5)
    target = torch.randint(4, (2, 3, 5))
    mask = (torch.rand(2, 3, 5) > 0.3).float()
    target[mask == 0] = 255
    value = BAKELoss()(logits, features=features, target=target, mask=mask)
    rows, of_rows = (item.permute(0, 2, 3, 1)[mask > 0] for item in (logits, features))
    assert_close(value, batch_ensembled_divergence(rows, features=of_rows))


def test_of_many_pixels_as_many_of_each_class_are_drawn() -> None:
    labels = torch.cat([torch.zeros(500), torch.ones(40), torch.full((3,), 2)]).long()
    valid = torch.ones(543, dtype=torch.bool)
    valid[::2] = False
    there = labels[valid].bincount()
    assert there.tolist() == [250, 20, 1]
    index = balanced_sample(labels, valid, 60)
    assert len(index.unique()) == 60
    assert valid[index].all()
    assert labels[index].bincount().tolist() == [39, 20, 1]  # all of the rare ones
    assert not torch.equal(index, balanced_sample(labels, valid, 60))  # random ones
    few = labels[balanced_sample(labels, valid, 9)].bincount()
    assert few.tolist() == [4, 4, 1]


def test_a_sample_counts_as_its_rows_do() -> None:
    logits, features = torch.randn(40, 3), torch.randn(40, 2)
    target, mask = torch.randint(3, (40,)), torch.ones(40)
    mask[:10] = 0
    loss = BAKELoss(max_samples=20)
    torch.manual_seed(1)
    mean = loss(logits, features=features, target=target, mask=mask)
    torch.manual_seed(1)
    counted = loss(logits, features=features, target=target, mask=mask, avg_factor=30.0)
    assert_close(counted, mean)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(temperature=0), 'temperature must be a finite number > 0'),
        (dict(omega=1), 'omega must be a number >= 0 and < 1, got 1'),
        (dict(omega=-0.5), 'omega must be a finite number >= 0'),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BAKELoss(**options)
    with pytest.raises(ConfigError, match=message):
        batch_ensembled_divergence(LOGITS, features=FEATURES, **options)


def test_what_it_cannot_read_is_refused() -> None:
    target = torch.tensor([0, 1])
    with pytest.raises(ConfigError, match='max_samples must be a whole number >= 2'):
        BAKELoss(max_samples=1)
    with pytest.raises(ConfigError, match='needs the logits of one softmax'):
        BAKELoss()(LOGITS, features=FEATURES, target=target, context=SIGMOID)
    with pytest.raises(ShapeError, match=r"features must be .*got none.*'seg.logits'"):
        BAKELoss()(LOGITS, target=target)
    with pytest.raises(ShapeError, match=r'rows \(M, K\) and \(M, D\) of the same'):
        batch_ensembled_divergence(LOGITS, features=FEATURES[:1])
