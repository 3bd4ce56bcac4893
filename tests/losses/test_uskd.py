"""Universal self-knowledge distillation: soft labels of two own classifiers."""

import math

import pytest
import torch
from hypothesis import given
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import LossContext, USKDLoss, self_distillation

from ._cases import SELF_LABELLED, TRAINED, LearnedCase, alone
from ._common import gradient, row_pairs

CASES = [
    LearnedCase(
        'uskd',
        USKDLoss,
        alone(4, 4, early_features=6),
        {'channels': 4, 'feature_channels': 6, 'beta': 0.5, 'mu': 0.5},
        opt_outs=SELF_LABELLED
        | TRAINED
        | {
            'test_only_the_student_gets_a_gradient': (
                'its weak classifier trains the feature too, as in the paper'
            ),
        },
    ),
]

SIGMOID = LossContext(activation='sigmoid')
LABELS = torch.tensor([0, 0])
# Probabilities 0.6 and 0.2 of the label; its own soft labels are 1.16 and 0.84.
LOGITS = torch.tensor([[0.6, 0.4], [0.2, 0.8]], dtype=torch.float64).log()


def test_the_label_of_two_rows_by_hand() -> None:
    each = self_distillation(
        LOGITS, LOGITS, target=LABELS, beta=0, mu=0, reduction='none'
    )
    expected = [-1.16 * math.log(0.6), -0.84 * math.log(0.2)]
    assert_close(each, torch.tensor(expected, dtype=torch.float64))


def test_the_weak_classifier_learns_a_smoothed_label() -> None:
    weak = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    value = self_distillation(
        torch.zeros_like(weak), weak, target=LABELS[:1], alpha=0, beta=0, mu=2.0
    )
    assert value.item() == pytest.approx(2 * 0.618111, abs=2e-6)


@given(pair=row_pairs(min_columns=3))
def test_equals_scipy(pair: tuple[Tensor, Tensor]) -> None:
    logits, weak = pair
    target = torch.arange(len(logits)) % logits.shape[1]
    rows = list(zip(logits.numpy(), weak.numpy(), target.tolist(), strict=True))
    squares = [softmax(values)[label] ** 2 for values, _, label in rows]
    expected = []
    for values, weak_values, label in rows:
        p, w = softmax(values), softmax(weak_values)
        others = [column for column in range(len(p)) if column != label]
        scores = w / (1 - w[label] + 1e-6) + p / (1 - p[label] + 1e-6)
        inverse = 1 / rankdata(-scores, method='min')[others]
        zipf = inverse / inverse.sum()
        soft_label = p[label] ** 2 + 1 - sum(squares) / len(squares)
        smooth = [0.1 / len(p) + 0.9 * (column == label) for column in range(len(p))]
        expected.append(
            -2.0 * soft_label * log_softmax(values)[label]
            - 0.7 * (zipf * log_softmax(values[others])).sum()
            - 0.3 * (smooth * log_softmax(weak_values)).sum()
        )
    value = self_distillation(
        logits, weak, target=target, alpha=2.0, beta=0.7, mu=0.3, reduction='none'
    )
    assert_close(value, torch.tensor(expected, dtype=torch.float64))


def test_the_soft_labels_take_no_gradient() -> None:
    logits = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    weak = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randint(5, (8,))
    value = self_distillation(logits, weak, target=target, beta=0.0, mu=0.0)
    probs = logits.detach().softmax(dim=1)
    squares = probs.gather(1, target[:, None]) ** 2
    one_hot = torch.nn.functional.one_hot(target, 5)
    expected = (squares + 1 - squares.mean()) * (probs - one_hot) / 8
    assert_close(gradient(value, logits), expected)
    value = self_distillation(logits, weak, target=target, mu=0.0)
    assert not gradient(value, weak).any()


@pytest.mark.parametrize('maps', [False, True])
def test_its_classifier_reads_the_feature_of_each_row(maps: bool) -> None:
    loss = USKDLoss(2.0, channels=3, feature_channels=4, mu=0.5).double()
    sides = (3, 2) if maps else ()
    logits = torch.randn(2, 3, *sides, dtype=torch.float64)
    features = torch.randn(2, 4, *sides, dtype=torch.float64, requires_grad=True)
    target = torch.randint(3, (2, *sides))
    weak = torch.einsum('nd...,kd->nk...', features, loss.classifier.weight)
    weak = weak + loss.classifier.bias.view(1, 3, *[1 for _ in sides])
    expected = 2 * self_distillation(logits, weak, target=target, mu=0.5)
    value = loss(logits, early_features=features, target=target)
    assert_close(value, expected)
    assert gradient(value, features).any()  # the middle of the student learns as well
    assert set(loss.trained_with_student()) == {'classifier.weight', 'classifier.bias'}


def test_rows_of_the_background_are_left_out() -> None:
    loss = USKDLoss(channels=4, feature_channels=5)
    logits, features = torch.randn(6, 4), torch.randn(6, 5)
    target = torch.tensor([0, 3, 1, 3, 2, 0])
    objects = target != 3
    expected = loss(
        logits[objects], early_features=features[objects], target=target[objects]
    )
    context = LossContext(activation='softmax', background=3)
    value = loss(logits, early_features=features, target=target, context=context)
    assert_close(value, expected)


def test_a_masked_feature_may_be_anything() -> None:
    loss = USKDLoss(channels=4, feature_channels=5)
    logits, features = torch.randn(3, 4), torch.randn(3, 5)
    features[1] = math.inf
    value = loss(
        logits,
        early_features=features,
        target=torch.tensor([0, 255, 1]),
        mask=torch.tensor([1.0, 0.0, 1.0]),
    )
    assert value.isfinite()
    assert gradient(value, loss.classifier.weight).isfinite().all()


@pytest.mark.parametrize('name', ['alpha', 'beta', 'mu'])
def test_weights_below_zero_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f'{name} must be a finite number >= 0'):
        USKDLoss(**{name: -1})
    with pytest.raises(ConfigError, match=f'{name} must be a finite number >= 0'):
        self_distillation(LOGITS, LOGITS, target=LABELS, **{name: -1})


def test_what_it_cannot_read_is_refused() -> None:
    loss = USKDLoss(channels=2, feature_channels=3)
    features = torch.zeros(2, 3)
    with pytest.raises(ConfigError, match='needs the logits of one softmax'):
        loss(LOGITS, early_features=features, target=LABELS, context=SIGMOID)
    with pytest.raises(ShapeError, match=r'early_features must be .* \(2,\).*got none'):
        loss(LOGITS, target=LABELS)
    with pytest.raises(ShapeError, match=r'early_features must be .* got \(1, 3\)'):
        loss(LOGITS, early_features=features[:1], target=LABELS)
    with pytest.raises(ShapeError, match=r'student .* and weak .* differ in rows'):
        self_distillation(LOGITS, LOGITS[:1], target=LABELS)
