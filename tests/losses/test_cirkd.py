"""Relations of pixels, in a batch and to memories, as one loss."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import CIRKDLoss, cross_image_divergence, memory_divergence

from ._common import backward, maps

WITHOUT_CASES = {CIRKDLoss: 'a random projection, and a memory that moves'}

# Of torch 2.4 itself, where it computes a block once more.
pytestmark = pytest.mark.filterwarnings('ignore:.torch.cpu.amp.autocast:FutureWarning')

CLASSES = 3
DEFAULTS = {'batch_weight': 1.0, 'pixel_weight': 0.1, 'region_weight': 0.1}


def small(**options: Any) -> CIRKDLoss:
    return CIRKDLoss(
        **{
            'num_classes': CLASSES,
            'student_channels': 3,
            'teacher_channels': 6,
            'pixel_size': 20,
            'region_size': 7,
            'pixel_slots': 8,
            'region_slots': 4,
            'pixels_per_class': 4,
            **options,
        }
    )


def batch() -> dict[str, Tensor]:
    """The first image lacks class 2, and a row of all is ignored."""
    student, teacher = (item.float() for item in maps(images=3))
    target = torch.randint(CLASSES, (3, 4, 5))
    target[0] %= 2
    target[:, 0] = 255
    return {'student': student, 'teacher': teacher, 'target': target}


def test_the_sum_of_three_terms_by_their_weights() -> None:
    # All slots are drawn: in which order does not matter.
    given, loss = batch(), small(loss_weight=0.5, pixel_slots=99, region_slots=99)
    loss(**given)  # something to remember
    loss.eval()
    labelled = given['target'] < CLASSES
    projected = loss.projection(given['student'] * labelled[:, None])
    rows = [item.movedim(1, -1)[labelled] for item in (projected, given['teacher'])]
    memories = {
        f'{kind}_weight': memory_divergence(*rows, loss.queues[kind].rows.flatten(0, 1))
        for kind in ('pixel', 'region')
    }
    terms = {
        'batch_weight': cross_image_divergence(given['student'], given['teacher'])
    } | memories
    assert_close(
        loss(**given),
        0.5 * sum(weight * terms[name] for name, weight in DEFAULTS.items()),
    )
    for name, value in terms.items():
        alone = dict.fromkeys(DEFAULTS, 0.0) | {name: 0.3}
        term = small(pixel_slots=99, region_slots=99, **alone)
        state = loss.state_dict()
        term.load_state_dict({key: state[key] for key in term.state_dict()})
        assert_close(term.eval()(**given), 0.3 * value)
        assert len(term.queues) == (name != 'batch_weight')


def test_what_is_remembered_by_hand() -> None:
    given, loss = batch(), small(pixels_per_class=99, pixel_size=99)
    loss(**given)
    expected: list[list[Tensor]] = [[], [], []]
    regions: list[list[Tensor]] = [[], [], []]
    unit = nn.functional.normalize(given['teacher'], dim=1)
    for image, target in zip(unit, given['target'], strict=True):
        for label in range(CLASSES):
            found = image[:, target == label].T
            expected[label] += [*found]
            if len(found):
                regions[label].append(nn.functional.normalize(found.mean(0), dim=0))
    assert len(regions[2]) == 2
    for kind, rows in (('pixel', expected), ('region', regions)):
        queues = loss.queues[kind]
        for label in range(CLASSES):
            count = len(rows[label])
            assert queues.written[label] == count
            found, wanted = (
                item[item[:, 0].argsort()]
                for item in (queues.rows[label, :count], torch.stack(rows[label]))
            )
            assert_close(found, wanted)
    assert_close(loss.queues['region'].rows[2, :2], torch.stack(regions[2]))


def test_some_pixels_of_each_class_and_image_come_in() -> None:
    given, loss = batch(), small(pixels_per_class=2)
    loss(**given)
    expected = sum(
        min(2, int((target == label).sum()))
        for target in given['target']
        for label in range(CLASSES)
    )
    assert loss.queues['pixel'].written.sum() == expected
    assert loss.queues['pixel'].written[2] <= 4


def test_an_absent_class_and_ignored_pixels_leave_no_trace() -> None:
    given, loss = batch(), small()
    before = copy.deepcopy(loss.queues.state_dict())
    given['target'][given['target'] == 1] = 255
    given['target'][:, 0] = 1  # but masked
    given['student'][:, :, 0] = torch.inf
    given['teacher'][:, :, 0] = torch.nan
    mask = torch.ones(3, 4, 5)
    mask[:, 0] = 0
    value = loss(**given, mask=mask)
    assert value.isfinite()
    backward(value)
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters())
    for kind in ('pixel', 'region'):
        queues = loss.queues[kind]
        assert torch.equal(queues.rows[1], before[f'{kind}.rows'][1])
        assert queues.written[1] == 0 and queues.written[0] > 0
        assert queues.rows.isfinite().all()


def test_the_memories_move_in_training_alone() -> None:
    given, loss = batch(), small()
    before = copy.deepcopy(loss.queues.state_dict())

    def moved() -> bool:
        state = loss.queues.state_dict()
        return not all(torch.equal(state[name], before[name]) for name in before)

    copy.deepcopy(loss)(**given)
    with torch.no_grad():
        loss(**given)
    loss.eval()(**given)
    loss.train()
    loss.loss_weight = 0.0
    loss(**given)
    assert not moved()
    loss.loss_weight = 1.0
    loss(**given)
    assert moved()


def test_a_resumed_one_goes_on_as_if_nothing_had_happened() -> None:
    loss, resumed = small(), small()
    steps = [batch() for _ in range(3)]
    loss(**steps[0])
    resumed.load_state_dict(copy.deepcopy(loss.state_dict()))
    values = []
    for each in (loss, resumed):
        torch.manual_seed(7)
        values.append([each(**given).item() for given in steps[1:]])
    assert values[0] == values[1]
    assert set(loss.queues.state_dict()) == {
        f'{kind}.{name}' for kind in ('pixel', 'region') for name in ('rows', 'written')
    }


def test_the_projection_learns_and_the_memories_do_not() -> None:
    given, loss = batch(), small()
    for item in (given['student'], given['teacher']):
        item.requires_grad_()
    values = []
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    for _ in range(12):
        value = loss(**given)
        optimizer.zero_grad()
        backward(value)
        optimizer.step()
        values.append(value.item())
    assert all(parameter.grad.any() for parameter in loss.parameters())
    assert loss.trained_with_student().keys() == dict(loss.named_parameters()).keys()
    assert given['teacher'].grad is None and given['student'].grad.any()
    assert values[-1] < values[0]
    assert all(not buffer.requires_grad for buffer in loss.buffers())


def test_a_sample_of_pixels_has_the_mean_of_all() -> None:
    given, loss = batch(), small(batch_weight=0.0, pixel_slots=99, region_slots=99)
    loss(**given)
    some = small(
        batch_weight=0.0, pixel_slots=99, region_slots=99, max_samples=5
    ).eval()
    some.load_state_dict(loss.state_dict())
    values = torch.stack([some(**given) for _ in range(40)]).detach()
    error = values.std() / 40**0.5
    assert error > 0
    assert (values.mean() - loss.eval()(**given)).abs() < 4 * error


@pytest.mark.parametrize('slots', [1, 2])
def test_more_comes_in_than_there_are_slots(slots: int) -> None:
    loss = small(pixel_size=slots, region_size=slots)
    value = loss(**batch())
    assert value.isfinite()
    assert loss.queues['pixel'].written.max() > slots


@pytest.mark.parametrize(
    'given',
    [
        {'target': torch.full((3, 4, 5), 255), 'mask': torch.zeros(3, 4, 5)},
        {name: item[:0] for name, item in batch().items()},
    ],
    ids=['all ignored', 'no image'],
)
def test_nothing_valid_is_zero_with_a_graph(given: dict[str, Tensor]) -> None:
    given, loss = batch() | given, small()
    given['student'].requires_grad_()
    if not len(given['student']):
        loss.eval()  # without a pixel, batch norm has no statistics
    value = loss(**given)
    assert value.item() == 0
    backward(value)
    # DDP waits for each of them.
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert given['student'].grad is not None and not given['student'].grad.any()
    assert not any(queues.written.any() for queues in loss.queues.values())


def test_the_batch_alone_needs_neither_labels_nor_channels() -> None:
    given = batch()
    loss = CIRKDLoss(pixel_weight=0.0, region_weight=0.0, temperature=0.5)
    assert not loss.needs_target
    assert loss.state_dict() == {}
    value = loss(given['student'], given['teacher'])
    expected = cross_image_divergence(
        given['student'], given['teacher'], temperature=0.5
    )
    assert_close(value, expected)
    assert small().needs_target


def test_float32_under_autocast() -> None:
    given, loss = batch(), small().eval()
    torch.manual_seed(3)
    value = loss(**given)
    torch.manual_seed(3)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(loss(**given), value)
    for name in ('student', 'teacher'):
        given[name] = (1e4 * given[name].sign()).half()
    assert loss.train()(**given).isfinite()


def test_the_batch_norm_is_one_that_the_host_converts() -> None:
    norms = [item for item in small().modules() if isinstance(item, nn.BatchNorm2d)]
    assert len(norms) == 1
    assert nn.SyncBatchNorm.convert_sync_batchnorm(small()).projection[1].num_features


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_classes=None), 'num_classes must be a whole number >= 1, got None'),
        (dict(student_channels=None), 'student_channels must be a whole number'),
        (dict(teacher_channels=0), 'teacher_channels must be a whole number >= 1'),
        (dict(pixel_size=0), 'pixel_size must be'),
        (dict(region_size=0), 'region_size must be'),
        (dict(pixel_slots=0), 'pixel_slots must be'),
        (dict(region_slots=None), 'region_slots must be'),
        (dict(pixels_per_class=0), 'pixels_per_class must be'),
        (dict(max_samples=0), 'max_samples must be'),
        (dict(max_nodes=0), 'max_nodes must be'),
        (dict(max_entries=0), 'max_entries must be'),
        (dict(temperature=0), 'temperature must be a finite number > 0'),
        (dict(batch_weight=-1), 'batch_weight must be a finite number >= 0'),
        (dict(pixel_weight=-1), 'pixel_weight must be a finite number >= 0'),
        (dict(region_weight='1'), 'region_weight must be a finite number >= 0'),
        (
            dict(batch_weight=0, pixel_weight=0, region_weight=0),
            'are all 0: nothing is left to learn',
        ),
    ],
)
def test_impossible_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**options)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(target=None), r'needs labels \(3, 4, 5\) as target, got none'),
        (dict(teacher=torch.zeros(3, 6, 8, 5)), 'differ in batch size, height or'),
        (dict(teacher=torch.zeros(3, 5, 4, 5)), 'Set teacher_channels=5'),
        (dict(mask=torch.ones(3)), r'mask must be \(3, 4, 5\), one number per pixel'),
        (dict(student=torch.zeros(3, 6)), r'student must be \(N, C, H, W\)'),
    ],
)
def test_what_does_not_fit_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        small()(**{**batch(), **changes})
