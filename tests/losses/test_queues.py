"""Memories by class, and what ranks exchange for them."""

import copy
import multiprocessing
import sys
from collections import deque
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.losses import CRDLoss
from kd_plugins.losses._queues import (
    ClassQueues,
    draw,
    gather_rows,
    index_in_group,
    learns,
    mean_over_ranks,
)

from ._common import backward


def numbered(*numbers: int) -> Tensor:
    """Rows that are told apart by their number."""
    return torch.tensor(numbers, dtype=torch.float)[:, None].expand(-1, 2)


def held(queues: ClassQueues) -> list[set[float]]:
    """Numbers of the rows that came in and did not leave, by class."""
    rows, labels = queues.draw(10**6)
    return [
        set(rows[labels == label][:, 0].tolist()) for label in range(len(queues.rows))
    ]


def test_equals_a_deque_for_each_class() -> None:
    classes, size = 4, 5
    queues = ClassQueues(classes, size, 2)
    expected = [deque[float](maxlen=size) for _ in range(classes)]
    number = 0
    for count in (0, 1, 3, 20, 2, 0, 7, 40, 1):
        labels = torch.randint(classes - 1, (count,))  # the last class is absent
        rows = numbered(*range(number, number + count))
        number += count
        queues.push(rows, labels)
        for row, label in zip(rows, labels.tolist(), strict=True):
            expected[label].append(row[0].item())
        assert held(queues) == [set(items) for items in expected]
    assert queues.written.sum() == number


def test_an_absent_class_stays_as_it_is() -> None:
    queues = ClassQueues(3, 4, 2)
    queues.push(numbered(1, 2), torch.tensor([1, 1]))
    before = queues.rows.clone()
    queues.push(numbered(3, 4, 5), torch.tensor([0, 2, 0]))
    assert torch.equal(queues.rows[1], before[1])
    assert queues.written.tolist() == [2, 2, 1]


def test_slots_that_nothing_came_into_are_normalised_noise() -> None:
    queues = ClassQueues(3, 50, 8)
    assert_close(queues.rows.norm(dim=2), torch.ones(3, 50))
    assert queues.rows.std() > 0.3
    queues.push(torch.zeros(1, 8), torch.tensor([1]))
    rows, labels = queues.draw(10**6)
    assert (labels >= 0).sum() == 1
    assert not rows[labels == 1].any()


def test_draws_are_filled_slots_first_and_none_twice() -> None:
    queues = ClassQueues(3, 40, 2)
    queues.push(numbered(*range(30)), torch.arange(30) % 3)
    rows, labels = queues.draw(20)
    numbers = rows[:, 0].long()
    assert rows.shape == (20, 2)
    assert len(set(numbers.tolist())) == 20
    assert torch.equal(labels, numbers % 3)
    second, _ = queues.draw(20)
    assert not torch.equal(rows, second)
    _, labels = queues.draw(31)
    assert (labels < 0).sum() == 1


def test_every_row_is_drawn_as_often() -> None:
    queues = ClassQueues(2, 40, 2)
    queues.push(numbered(*range(10)), torch.arange(10) % 2)
    counts = torch.zeros(10)
    for _ in range(200):
        rows, _ = queues.draw(3)
        counts[rows[:, 0].long()] += 1
    assert_close(counts / 200, torch.full((10,), 0.3), rtol=0, atol=0.15)


def test_slots_are_the_same_of_each_class() -> None:
    queues = ClassQueues(3, 10, 2)
    queues.rows.copy_(torch.arange(30.0).view(3, 10, 1).expand(3, 10, 2))
    slots = queues.draw_slots(4)[:, 0].view(3, 4)
    assert len(set(slots[0].tolist())) == 4
    assert torch.equal(slots - slots[0], torch.tensor([[0.0], [10], [20]]).expand(3, 4))
    assert queues.draw_slots(99).shape == (30, 2)


def test_what_was_drawn_is_a_copy() -> None:
    queues = ClassQueues(2, 3, 2)
    queues.push(numbered(*range(6)), torch.arange(6) % 2)
    drawn = [queues.draw(2)[0], queues.draw(9)[0], queues.draw_slots(9)]
    before = [item.clone() for item in drawn]
    queues.push(numbered(*range(10, 16)), torch.arange(6) % 2)
    for item, old in zip(drawn, before, strict=True):
        assert torch.equal(item, old)


def test_a_memory_is_saved_and_resumed() -> None:
    queues, resumed = ClassQueues(2, 3, 2), ClassQueues(2, 3, 2)
    queues.push(numbered(*range(5)), torch.arange(5) % 2)
    resumed.load_state_dict(copy.deepcopy(queues.state_dict()))
    for each in (queues, resumed):
        each.push(numbered(7, 8), torch.tensor([0, 0]))
    assert torch.equal(resumed.rows, queues.rows)
    assert held(resumed) == [{4.0, 7.0, 8.0}, {1.0, 3.0}]


def test_no_gradient_comes_in() -> None:
    queues = ClassQueues(2, 3, 2)
    queues.push(torch.randn(2, 2, requires_grad=True), torch.tensor([0, 1]))
    assert not queues.rows.requires_grad
    assert queues.rows.grad_fn is None


def test_indices_in_groups_equal_a_loop() -> None:
    groups = torch.randint(5, (40,))
    expected = [
        groups[:number].tolist().count(group)
        for number, group in enumerate(groups.tolist())
    ]
    assert index_in_group(groups).tolist() == expected
    assert index_in_group(groups[:0]).tolist() == []


def test_draws_prefer_what_is_valid() -> None:
    valid = torch.zeros(3, 50, dtype=torch.bool)
    valid[0, 10:15] = True
    valid[1] = True
    index, kept = draw(valid, 8)
    assert index.shape == kept.shape == (3, 8)
    assert set(index[0, kept[0]].tolist()) == set(range(10, 15))
    assert kept.sum(1).tolist() == [5, 8, 0]
    assert len(set(index[1].tolist())) == 8


def test_as_many_random_numbers_whatever_is_valid() -> None:
    states = []
    for share in (0.0, 0.5, 1.0):
        torch.manual_seed(3)
        draw(torch.rand(2, 50) < share, 8)
        torch.manual_seed(4)
        valid = torch.rand(2, 50) < share
        torch.manual_seed(5)
        draw(valid, 8)
        states.append(torch.get_rng_state())
    assert all(torch.equal(state, states[0]) for state in states)


def test_a_memory_moves_only_where_somebody_learns() -> None:
    loss = CRDLoss(2, 2, 2)
    assert learns(loss)
    with torch.no_grad():
        assert not learns(loss)
    assert not learns(loss.eval())
    loss.train().loss_weight = 0.0
    assert not learns(loss)


# Two processes


def of_rank(rank: int) -> dict[str, Tensor]:
    """RoIs of a rank: 3 and 5 of them, of which 2 and 4 have a class."""
    generator = torch.Generator().manual_seed(rank)
    count = (3, 5)[rank]
    return {
        'student': torch.randn(count, 4, generator=generator, dtype=torch.float64),
        'teacher': torch.randn(count, 6, generator=generator, dtype=torch.float64),
        'target': torch.tensor([3, *((rank + n) % 3 for n in range(count - 1))]),
    }


def small() -> CRDLoss:
    torch.manual_seed(0)
    return CRDLoss(3, 4, 6, embed_dims=5, queue_size=4).double()


def two_steps(loss: CRDLoss, rows: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    loss(**rows)
    value = loss(**rows)
    backward(value)
    gradient = loss.teacher_projection.weight.grad
    assert gradient is not None
    return value.detach(), gradient


def process(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', f'file://{folder / "meeting"}', rank=rank, world_size=2
    )
    rank_rows = torch.arange(3.0 * rank), torch.full((3 * rank, 2), rank)
    gathered = gather_rows(*rank_rows)
    nothing = gather_rows(torch.zeros(0, 2))
    mean = mean_over_ranks(torch.tensor(rank))
    loss = small()
    value, gradient = two_steps(loss, of_rank(rank))
    found = gathered, nothing, mean, value, gradient, loss.queues.state_dict()
    torch.save(found, folder / f'{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='forks')
@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_two_ranks_remember_and_average_as_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=process, args=(rank, tmp_path)) for rank in range(2)
    ]
    for each in processes:
        each.start()
    for each in processes:
        each.join(60)
    found = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    for gathered, nothing, mean, *_ in found:
        assert gathered[0].tolist() == [0, 1, 2]
        assert gathered[1].tolist() == 3 * [[1, 1]]
        assert [item.shape for item in nothing] == [(0, 2)]
        assert mean == 0.5
    # One process with the RoIs of both.
    rows = {
        name: torch.cat([of_rank(rank)[name] for rank in range(2)])
        for name in ('student', 'teacher', 'target')
    }
    loss = small()
    value, gradient = two_steps(loss, rows)
    for *_, state in found:
        for name, expected in loss.queues.state_dict().items():
            assert_close(state[name], expected)
    assert_close(sum(item[3] for item in found) / 2, value)
    assert_close(sum(item[4] for item in found) / 2, gradient)  # as DDP averages


def test_one_process_has_nothing_to_gather() -> None:
    rows = torch.zeros(3)
    assert gather_rows(rows)[0] is rows
    assert mean_over_ranks(rows) is rows
