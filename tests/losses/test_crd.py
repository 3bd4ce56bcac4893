"""Contrastive distillation of RoIs and pixels, against a memory by class."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import CRDLoss, info_nce

from ._common import backward, gradient

WITHOUT_CASES = {CRDLoss: 'random projections, and a memory that moves'}

# Of torch 2.4 itself, where it computes a block once more.
pytestmark = pytest.mark.filterwarnings('ignore:.torch.cpu.amp.autocast:FutureWarning')

CLASSES = 3


def small(**options: Any) -> CRDLoss:
    return CRDLoss(
        **{
            'num_classes': CLASSES,
            'student_channels': 4,
            'teacher_channels': 6,
            'embed_dims': 5,
            'queue_size': 8,
            **options,
        }
    )


def rois(count: int = 12) -> dict[str, Tensor]:
    """Of which the last has no class: background."""
    target = torch.arange(count) % CLASSES
    target[-1:] = CLASSES
    return {
        'student': torch.randn(count, 4),
        'teacher': torch.randn(count, 6),
        'target': target,
    }


def maps() -> dict[str, Tensor]:
    """With a strip of ignored pixels."""
    target = torch.randint(CLASSES, (2, 5, 6))
    target[:, 0] = 255
    return {
        'student': torch.randn(2, 4, 5, 6),
        'teacher': torch.randn(2, 6, 5, 6),
        'target': target,
    }


@pytest.mark.parametrize('make', [rois, maps])
def test_what_is_computed_is_info_nce_of_projections(make: Any) -> None:
    loss, given = small(loss_weight=0.8, queue_size=100), make()
    value = loss(**given)
    target = given['target'].flatten()
    student, teacher = (
        item.movedim(1, -1).flatten(0, -2)[target < CLASSES]
        for item in (given['student'], given['teacher'])
    )
    target = target[target < CLASSES]
    student_rows, teacher_rows = (
        loss.student_projection(student),
        loss.teacher_projection(teacher),
    )
    negatives = torch.nn.functional.normalize(teacher_rows).detach()
    expected = info_nce(
        student_rows, teacher_rows, negatives, labels=target, negative_labels=target
    )
    assert_close(value, 0.8 * expected)
    assert loss.queues.written.tolist() == target.bincount().tolist()


def test_both_projections_learn_and_the_memory_does_not() -> None:
    loss, given = small(), rois()
    given['teacher'].requires_grad_()
    given['student'].requires_grad_()
    backward(loss(**given))
    assert all(parameter.grad.any() for parameter in loss.parameters())
    assert loss.trained_with_student().keys() == dict(loss.named_parameters()).keys()
    assert given['student'].grad.any()
    assert given['teacher'].grad is None
    assert not loss.queues.rows.requires_grad


def test_what_has_no_class_takes_no_part() -> None:
    torch.manual_seed(1)
    loss, given = small(), rois()
    mask = torch.ones(12)
    mask[3] = 0
    copied = copy.deepcopy(loss)
    value = loss(**given, mask=mask)
    given['student'][3], given['teacher'][3], given['student'][11] = (
        torch.inf,
        torch.nan,
        -torch.inf,
    )
    copied_value = copied(**given, mask=mask)
    assert torch.equal(copied_value, value)
    assert torch.equal(copied.queues.rows, loss.queues.rows)
    for item in (value, copied_value):
        backward(item)
    for parameter, copied_parameter in zip(
        loss.parameters(), copied.parameters(), strict=True
    ):
        assert parameter.grad is not None and torch.equal(
            parameter.grad, copied_parameter.grad
        )
    assert loss.queues.written.sum() == 10


def test_it_learns_to_tell_regions_apart() -> None:
    loss = small()
    centres = torch.randn(CLASSES, 4), torch.randn(CLASSES, 6)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    values = []
    for _ in range(25):
        given = rois()
        for name, centre in zip(('student', 'teacher'), centres, strict=True):
            given[name] = 0.1 * given[name] + centre[given['target'] % CLASSES]
        value = loss(**given)
        optimizer.zero_grad()
        backward(value)
        optimizer.step()
        values.append(value.item())
    assert np.mean(values[:3]) > 1 > 0.2 > np.mean(values[-3:])


def test_a_sample_of_pixels_has_the_mean_of_all() -> None:
    torch.manual_seed(2)
    all_of_them, some = small().eval(), small(max_samples=7).eval()
    given = maps()
    all_of_them.queues.push(torch.randn(24, 5), torch.arange(24) % CLASSES)
    some.load_state_dict(all_of_them.state_dict())
    values = torch.stack([some(**given) for _ in range(40)]).detach()
    error = values.std() / 40**0.5
    assert values.std() > 0.01
    assert (values.mean() - all_of_them(**given)).abs() < 4 * error


def test_the_memory_moves_in_training_alone() -> None:
    loss, given = small(), rois()
    before = copy.deepcopy(loss.state_dict())

    def moved() -> bool:
        state = loss.state_dict()
        return not all(torch.equal(state[name], before[name]) for name in before)

    copy.deepcopy(loss)(**given)
    with torch.no_grad():
        loss(**given)
    loss.eval()(**given)
    loss.train()
    loss.loss_weight = 0.0
    backward(loss(**given))
    assert not moved()
    loss.loss_weight = 1.0
    loss(**given)
    assert moved()


def test_a_resumed_one_goes_on_as_if_nothing_had_happened() -> None:
    loss, resumed = small(num_negatives=5), small(num_negatives=5)
    steps = [rois() for _ in range(3)]
    loss(**steps[0])
    state = copy.deepcopy(loss.state_dict())
    assert {'queues.rows', 'queues.written'} < state.keys()
    resumed.load_state_dict(state)
    values = []
    for each in (loss, resumed):
        torch.manual_seed(7)
        values.append([each(**given).item() for given in steps[1:]])
    assert values[0] == values[1]


def test_a_second_level_does_not_disturb_the_first_ones_graph() -> None:
    loss = small(queue_size=2)
    total = loss(**rois()) + loss(**rois())
    backward(total)
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters())


@pytest.mark.parametrize(
    'given',
    [
        {'target': torch.full((12,), CLASSES)},
        {'mask': torch.zeros(12)},
        {name: item[:0] for name, item in rois().items()},
        {name: item[:1] for name, item in rois().items()},
        {'target': torch.zeros(12, dtype=torch.long)},
        {
            'student': torch.randn(2, 4, 3, 3),
            'teacher': torch.randn(2, 6, 3, 3),
            'target': torch.full((2, 3, 3), 255),
        },
    ],
    ids=['background', 'masked', 'no row', 'one row', 'one class', 'all ignored'],
)
def test_nothing_to_contrast_is_zero_with_a_graph(given: dict[str, Tensor]) -> None:
    loss = small()
    given = rois() | given
    given['student'].requires_grad_()
    value = loss(**given)
    assert value.item() == 0
    backward(value)
    # DDP waits for each of them.
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert given['student'].grad is not None and not given['student'].grad.any()


def test_more_of_a_class_than_it_has_slots() -> None:
    loss = small(queue_size=2)
    value = loss(**rois(50))
    assert value.isfinite() and value > 0
    assert loss.queues.written.min() > 2


def test_float32_under_autocast_and_finite_for_huge_features() -> None:
    loss, given = small().eval(), rois()
    loss.queues.push(torch.randn(9, 5), torch.arange(9) % CLASSES)
    value = loss(**given)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(loss(**given), value)
    for name in ('student', 'teacher'):
        given[name] = (1e4 * given[name].sign()).half().requires_grad_()
    value = loss.train()(**given)
    assert value.dtype == torch.float32 and value.isfinite()
    assert gradient(value, given['student']).isfinite().all()


def test_targets_may_come_as_numbers() -> None:
    loss, given = small().eval(), maps()
    value = loss(**given)
    assert_close(loss(**{**given, 'target': given['target'].double()}), value)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_classes=1), 'num_classes must be a whole number >= 2, got 1'),
        (dict(student_channels=0), 'student_channels must be a whole number >= 1'),
        (dict(teacher_channels=None), 'teacher_channels must be a whole number'),
        (dict(embed_dims=0), 'embed_dims must be'),
        (dict(queue_size=0), 'queue_size must be'),
        (dict(num_negatives=0), 'num_negatives must be'),
        (dict(max_samples=None), 'max_samples must be a whole number >= 1, got None'),
        (dict(max_entries=0), 'max_entries must be'),
        (dict(temperature=0), 'temperature must be a finite number > 0'),
        (dict(loss_weight=-1), 'loss_weight must be a finite number >= 0'),
    ],
)
def test_impossible_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_labels_are_asked_for() -> None:
    given = rois()
    given.pop('target')
    with pytest.raises(ShapeError, match=r'needs labels \(12,\) as target, got none'):
        small()(**given)
