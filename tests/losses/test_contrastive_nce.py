"""Contrastive distillation of whole images, as in its paper."""

import math

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.losses import blend_into_bank, contrastive_nce, nce_normalizer

from ._common import gradient


def test_the_papers_own_by_hand() -> None:
    likeness = torch.tensor([[0.5, 0.1, 0.1]], dtype=torch.float64).log()
    value = contrastive_nce(likeness, num_data=10, normalizer=1.0, temperature=1.0)
    assert value.item() == pytest.approx(math.log(1.4) + 2 * math.log(1.5))
    assert value.item() == pytest.approx(1.147402, abs=1e-6)


def test_the_papers_own_equals_a_naive_loop() -> None:
    similarities = 2 * torch.rand(5, 8, dtype=torch.float64) - 1
    normalizer = nce_normalizer(similarities, num_data=300)
    likeness = (similarities / 0.07).exp().numpy()
    assert normalizer.item() == pytest.approx(300 * likeness.mean())
    expected = []
    for positive, *others in likeness / normalizer.item():
        chance = 7 / 300
        value = -math.log(positive / (positive + chance))
        value -= sum(math.log(chance / (other + chance)) for other in others)
        expected.append(value)
    value = contrastive_nce(
        similarities, num_data=300, normalizer=normalizer, reduction='none'
    )
    assert value.tolist() == pytest.approx(expected)
    tensor = similarities.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda item: contrastive_nce(item, num_data=300, normalizer=normalizer),
        (tensor,),
    )
    slope = gradient(
        contrastive_nce(tensor, num_data=300, normalizer=normalizer), tensor
    )
    assert (slope[:, 0] < 0).all() and (slope[:, 1:] > 0).all()


def test_the_papers_own_is_finite_in_half_precision() -> None:
    similarities = torch.tensor([[1.0, 1.0], [-1.0, 1.0]]).half()
    for normalizer in (1e-6, 1.0, 1e9):
        value = contrastive_nce(similarities, num_data=10, normalizer=normalizer)
        assert value.isfinite() and value.dtype == torch.float32


def test_rows_of_a_bank_by_hand() -> None:
    old, new = torch.eye(2).split(1)
    new.requires_grad_()
    row = blend_into_bank(old, new)
    assert_close(row, torch.full((1, 2), 0.5**0.5))
    assert not row.requires_grad
    assert_close(
        blend_into_bank(old, new, 0.8), torch.tensor([[4.0, 1.0]]) / math.sqrt(17)
    )


def test_shapes_of_a_bank_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r'similarities must be \(B, 1 \+ K\)'):
        contrastive_nce(torch.zeros(3, 1), num_data=3, normalizer=1.0)
    with pytest.raises(ShapeError, match=r'rows .* and embeddings .* differ'):
        blend_into_bank(torch.zeros(3, 2), torch.zeros(2, 2))
