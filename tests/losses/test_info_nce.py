"""Finding the teacher's embedding among others."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.losses import info_nce

from ._common import gradient

# Of torch 2.4 itself, where it computes a block once more.
pytestmark = pytest.mark.filterwarnings('ignore:.torch.cpu.amp.autocast:FutureWarning')

CLASSES = 3


def embeddings(rows: int = 6, negatives: int = 9) -> dict[str, Tensor]:
    """Rows and negatives of random classes, one slot of them empty."""
    student, teacher = torch.randn(2, rows, 4, dtype=torch.float64)
    others = torch.nn.functional.normalize(torch.randn(negatives, 4).double())
    labels = torch.randint(CLASSES, (negatives,))
    labels[-1] = -1
    return {
        'student': student,
        'teacher': teacher,
        'negatives': others,
        'labels': torch.randint(CLASSES, (rows,)),
        'negative_labels': labels,
    }


def naive(given: dict[str, Tensor], temperature: float = 0.07) -> list[float]:
    """Row by row, by scipy."""
    arrays = {name: item.detach().numpy() for name, item in given.items()}
    values = []
    for row in range(len(arrays['student'])):
        student_row, teacher_row = arrays['student'][row], arrays['teacher'][row]
        student_row, teacher_row = (
            student_row / np.linalg.norm(student_row),
            teacher_row / np.linalg.norm(teacher_row),
        )
        scores = [student_row @ teacher_row / temperature]
        for negative, label in zip(
            arrays['negatives'], arrays['negative_labels'], strict=True
        ):
            if label not in (-1, arrays['labels'][row]):
                scores.append(student_row @ negative / temperature)
        values.append(logsumexp(scores) - scores[0])
    return values


def test_one_negative_by_hand() -> None:
    first, second = torch.eye(2, dtype=torch.float64).split(1)
    value = info_nce(first, first, second, temperature=1.0)
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1)))
    value = info_nce(
        3 * first, 2 * second, first
    )  # the student is where it should not be
    assert value.item() == pytest.approx(1 / 0.07, rel=1e-6)
    # As likely as each of seven others.
    value = info_nce(first, second, second.expand(7, 2), temperature=0.5)
    assert value.item() == pytest.approx(math.log(8))


@pytest.mark.parametrize('max_entries', [1, 20, 10**6])
def test_equals_a_naive_loop(max_entries: int) -> None:
    given = embeddings()
    value = info_nce(**given, max_entries=max_entries, reduction='none')
    assert value.tolist() == pytest.approx(naive(given), rel=1e-6, abs=1e-8)


def test_equals_a_cross_entropy_of_all() -> None:
    given = embeddings()
    student, teacher = (
        torch.nn.functional.normalize(given[name]) for name in ('student', 'teacher')
    )
    scores = [(student * teacher).sum(1, keepdim=True), student @ given['negatives'].T]
    labels = torch.zeros(6, dtype=torch.long)
    expected = torch.nn.functional.cross_entropy(torch.cat(scores, 1) / 0.2, labels)
    given.pop('labels'), given.pop('negative_labels')
    assert_close(info_nce(**given, temperature=0.2), expected)


def test_gradient_is_right_in_blocks_too() -> None:
    given = embeddings(3, 5)
    given['student'].requires_grad_()
    given['teacher'].requires_grad_()
    mask = torch.tensor([1.0, 0, 2.5], dtype=torch.float64)
    rest = {key: given[key] for key in ('negatives', 'labels', 'negative_labels')}
    for max_entries in (10, 10**6):
        assert torch.autograd.gradcheck(
            lambda student, teacher, entries=max_entries: info_nce(
                student,
                teacher,
                **rest,
                temperature=0.5,
                mask=mask,
                max_entries=entries,
            ),
            (given['student'], given['teacher']),
        )


def test_towards_the_teacher_is_less_and_towards_a_negative_is_more() -> None:
    given = embeddings(1, 1)
    given.pop('labels'), given.pop('negative_labels')
    before = info_nce(**given)
    nearer = given['student'] + 0.3 * given['teacher']
    assert info_nce(**{**given, 'student': nearer}) < before
    pushed = given['student'] + 0.3 * given['negatives']
    assert info_nce(**{**given, 'student': pushed}) > before


def test_length_and_a_common_rotation_do_not_matter() -> None:
    given = embeddings()
    value = info_nce(**given)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    for name, length in (('student', 30.0), ('teacher', 0.2), ('negatives', 1.0)):
        given[name] = length * given[name] @ rotation
    assert_close(info_nce(**given), value)


def test_masking_equals_dropping() -> None:
    given = embeddings()
    mask = torch.tensor([1.0, 0, 1, 1, 0, 1])
    kept = mask.bool()
    value = info_nce(**given, mask=mask)
    for name in ('student', 'teacher', 'labels'):
        given[name] = given[name][kept]
    assert_close(value, info_nce(**given))
    assert_close(value, info_nce(**given, reduction='none').mean())
    assert_close(
        info_nce(**given, avg_factor=8.0), info_nce(**given, reduction='sum') / 8
    )


def test_a_row_without_negatives_has_nothing_to_learn() -> None:
    given = embeddings(2, 3)
    given['labels'] = torch.tensor([0, 1])
    given['negative_labels'] = torch.tensor([0, -1, 0])
    given['student'].requires_grad_()
    value = info_nce(**given, reduction='none')
    slope = gradient(value.sum(), given['student'])
    assert value[0] == 0 and not slope[0].any()
    assert value[1] > 0 and slope[1].any()


@pytest.mark.parametrize('count', [0, 3])
def test_nothing_to_compare_is_zero_with_a_graph(count: int) -> None:
    given = embeddings(count)
    given['student'].requires_grad_()
    value = info_nce(**given, mask=torch.zeros(count))
    assert value.item() == 0
    assert not gradient(value, given['student']).any()


def test_zero_and_huge_embeddings_stay_finite() -> None:
    given = {name: item.clone() for name, item in embeddings(4).items()}
    for name in ('student', 'teacher', 'negatives'):
        given[name] = given[name].float()
    given['student'] = 100 * given['student'].half()
    given['teacher'] = 1e30 * given['teacher'] ** 3
    given['student'][0] = given['teacher'][1] = 0
    given['student'].requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = info_nce(**given)
    assert value.dtype == torch.float32 and value.isfinite()
    slope = gradient(value, given['student'])
    assert slope.isfinite().all()
    assert not slope[0].any()


def test_autocast_changes_nothing() -> None:
    given = {
        name: item.float() if item.is_floating_point() else item
        for name, item in embeddings().items()
    }
    value = info_nce(**given)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(info_nce(**given), value)
    assert info_nce(**embeddings()).dtype == torch.float64


def test_memory_keeps_to_its_budget() -> None:
    rows, negatives = 512, 1024
    student, teacher = torch.randn(2, rows, 8)
    others = torch.nn.functional.normalize(torch.randn(negatives, 8))
    student.requires_grad_()

    def kept(max_entries: int) -> int:
        sizes = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            info_nce(student, teacher, others, max_entries=max_entries)
        return sum(sizes.values())

    assert kept(10**9) >= rows * negatives
    assert kept(8 * negatives) < 8 * (2 * rows + negatives) * 3


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(teacher=torch.zeros(5, 4)), 'differ in rows'),
        (dict(negatives=torch.zeros(9, 3)), r'negatives must be \(M, 4\), got \(9, 3'),
        (dict(negatives=torch.zeros(0, 4)), 'M >= 1, got none'),
        (dict(labels=None), r'\(6,\) and \(9,\), or both None, got None and \(9,\)'),
        (dict(mask=torch.ones(2)), r'mask must be \(6,\)'),
    ],
)
def test_what_does_not_fit_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        info_nce(**{**embeddings(), **changes})
