"""Several teachers as one: means, and weights by confidence and by entropy."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.combinations import (
    ConfidenceWeights,
    EntropyWeights,
    MeanLogits,
    MeanLosses,
    MeanProbs,
    class_entropies,
    class_errors,
    confidence_weights,
    entropy_weights,
    mean_probs,
)
from kd_plugins.errors import ConfigError, ShapeError

LOGITS = torch.tensor([[2.0, 1.0, 0.0]])  # of the running example, its teacher


def drawn(*shape: int) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()


@st.composite
def errors(draw: st.DrawFn) -> Tensor:
    number, rows = draw(st.integers(2, 5)), draw(st.integers(1, 4))
    value = st.floats(0, 50, allow_nan=False)
    values = draw(st.lists(value, min_size=number * rows, max_size=number * rows))
    return torch.tensor(values, dtype=torch.double).view(number, rows)


# CA-MKD: numbers of its formula.


@pytest.mark.parametrize(
    ('losses', 'expected'),
    [
        ((0.2, 1.0, 2.0), (0.446093, 0.380027, 0.173880)),
        ((0.0, math.log(3)), (0.75, 0.25)),
        ((0.7, 0.7, 0.7, 0.7), (0.25,) * 4),
        ((3.0,), (1.0,)),
        ((1e4, 0.0), (0.0, 1.0)),  # exponentiated as they are, they would overflow
    ],
)
def test_the_surer_of_the_label_weighs_more(
    losses: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    assert_close(
        confidence_weights(torch.tensor(losses)),
        torch.tensor(expected),
        atol=1e-6,
        rtol=0,
    )


@given(errors=errors())
def test_confidence_weights_add_up_to_1_in_any_order(errors: Tensor) -> None:
    weights = confidence_weights(errors)
    assert_close(weights.sum(0), torch.ones_like(weights[0]))
    assert_close(confidence_weights(errors.flip(0)), weights.flip(0))
    naive = (1 - errors.exp() / errors.exp().sum(0)) / (len(errors) - 1)
    assert_close(weights, naive)


def test_weighed_losses_of_two_teachers_by_hand() -> None:
    """Cross-entropies 0 and ln 3 weigh 3/4 and 1/4: losses 0.1 and 0.4 give 0.175."""
    logits = torch.tensor([[[50.0, 0.0]], [[1 / 3, 2 / 3]]])
    logits[1] = logits[1].log()
    label = torch.tensor([0])
    losses = torch.tensor([0.1, 0.4])
    weights = ConfidenceWeights().weights(logits, 2, target=label)
    assert (weights[:, 0] * losses).sum().item() == pytest.approx(0.175)
    released = ConfidenceWeights(divide_by_number=True)
    weights = released.weights(logits, 2, target=label)
    assert (weights[:, 0] * losses).sum().item() == pytest.approx(0.0875)


def test_errors_are_torchs_cross_entropies() -> None:
    logits, labels = drawn(5, 4), torch.tensor([0, 1, 3, 2, 0])
    assert_close(
        class_errors(logits, labels),
        F.cross_entropy(logits, labels, reduction='none'),
    )
    maps, label_maps = drawn(2, 4, 3, 5), torch.ones(2, 3, 5).long()
    by_rows = class_errors(maps.permute(0, 2, 3, 1).reshape(-1, 4), torch.ones(30))
    assert_close(class_errors(maps, label_maps).flatten(), by_rows)
    several = F.binary_cross_entropy_with_logits(
        logits, F.one_hot(labels, 4).double(), reduction='none'
    ).sum(1)
    assert_close(class_errors(logits, labels, use_sigmoid=True), several)
    none = F.binary_cross_entropy_with_logits(
        logits, torch.zeros_like(logits), reduction='none'
    ).sum(1)
    background = torch.full((5,), 4)
    assert_close(class_errors(logits, background, use_sigmoid=True), none)
    answers = torch.tensor([1.0, 0.0])
    single = class_errors(torch.tensor([[2.0], [2.0]]), answers, use_sigmoid=True)
    assert_close(single, torch.tensor([0.126928, 2.126928]), atol=1e-6, rtol=0)
    with pytest.raises(ShapeError, match=r'a label for each row, \(5,\), got \(4,\)'):
        class_errors(logits, torch.zeros(4))


def test_only_with_attached_weights_the_gradient_flows_through_them() -> None:
    assert ConfidenceWeights().detach_weights
    assert not ConfidenceWeights(detach_weights=False).detach_weights
    logits = drawn(3, 4, 5).requires_grad_()
    weights = ConfidenceWeights().weights(logits, 3, target=torch.zeros(4).long())
    weights[0].sum().backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0


# EBKD.


def test_the_surer_weighs_more_without_labels() -> None:
    weights = entropy_weights(torch.tensor([0.2, 0.6]))
    assert_close(weights, torch.tensor([0.375, 0.125]))  # (1 - 1/4)/2, (1 - 3/4)/2
    assert_close(entropy_weights(torch.zeros(2, 3)), torch.full((2, 3), 0.25))
    assert_close(entropy_weights(torch.tensor([[5.0]])), torch.ones(1, 1))


@given(entropies=errors())
def test_entropy_weights_add_up_to_all_but_one_teacher(entropies: Tensor) -> None:
    number = len(entropies)
    weights = entropy_weights(entropies)
    expected = torch.full_like(weights[0], (number - 1) / number)
    assert_close(weights.sum(0), expected)
    assert_close(entropy_weights(entropies.flip(0)), weights.flip(0))


def test_entropies_by_hand() -> None:
    assert class_entropies(LOGITS).item() == pytest.approx(0.832396, abs=1e-6)
    assert class_entropies(torch.tensor([[1e4, 0.0]])).item() == 0
    half = class_entropies(torch.zeros(1, 3), use_sigmoid=True)
    assert half.item() == pytest.approx(3 * math.log(2))
    sure = class_entropies(torch.full((1, 3), 1e4), use_sigmoid=True)
    assert sure.item() == 0
    maps = drawn(2, 4, 3, 5)
    assert class_entropies(maps).shape == (2, 3, 5)
    rows = EntropyWeights().weights(torch.stack([maps, maps]), 2)
    assert_close(rows, torch.full_like(rows, 0.25))


# Means.


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_probabilities_are_the_mean_of_the_teachers(temperature: float) -> None:
    logits = drawn(3, 5, 4)
    merged = mean_probs(logits, temperature=temperature)
    expected = (logits / temperature).softmax(dim=2).mean(dim=0)
    assert_close((merged / temperature).softmax(dim=1), expected)
    merged = mean_probs(logits, temperature=temperature, use_sigmoid=True)
    expected = (logits / temperature).sigmoid().mean(dim=0)
    assert_close((merged / temperature).sigmoid(), expected)


def test_one_teacher_alone_keeps_its_probabilities() -> None:
    logits = drawn(1, 5, 4)
    assert_close(mean_probs(logits).softmax(1), logits[0].softmax(1))
    assert_close(mean_probs(logits, use_sigmoid=True), logits[0])
    assert_close(MeanLogits().merge(logits, use_sigmoid=False), logits[0])


def test_a_mean_of_probabilities_is_finite_for_the_surest_teachers() -> None:
    logits = torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]]])
    assert_close(
        MeanProbs().merge(logits, use_sigmoid=False).exp(), torch.ones(1, 2) / 2
    )
    assert mean_probs(logits.bfloat16(), use_sigmoid=True).isfinite().all()


def test_a_mean_of_logits_is_another_thing_than_one_of_probabilities() -> None:
    probs = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
    arithmetic = MeanProbs().merge(probs.log(), use_sigmoid=False).softmax(1)
    geometric = MeanLogits().merge(probs.log(), use_sigmoid=False).softmax(1)
    assert_close(arithmetic, torch.tensor([[0.7, 0.3]]))
    assert_close(geometric, torch.tensor([[0.75, 0.25]]))  # sqrt(0.45) to sqrt(0.05)


def test_losses_weigh_alike() -> None:
    assert_close(MeanLosses().weights(None, 4), torch.full((4,), 0.25))


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: MeanProbs(temperature=0), 'temperature must be a finite number > 0'),
        (
            lambda: ConfidenceWeights(detach_weights='yes'),  # type: ignore[arg-type]
            'detach_weights must be True or False',
        ),
        (
            lambda: ConfidenceWeights(divide_by_number=2),  # type: ignore[arg-type]
            'divide_by_number must be True or False',
        ),
    ],
)
def test_bad_values_are_refused(build: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()  # type: ignore[operator]
