"""Relations of pixels across images: to those of a batch, and to remembered ones."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.losses import cross_image_divergence, memory_divergence

from ._common import gradient, maps

# Of torch 2.4 itself, where it computes a block once more.
pytestmark = pytest.mark.filterwarnings('ignore:.torch.cpu.amp.autocast:FutureWarning')


def pixels(feature: Tensor, mask: Tensor) -> list[np.ndarray]:
    """Those kept of each image, at length 1, by numpy."""
    found = []
    for image, kept in zip(feature.detach().numpy(), mask.numpy(), strict=True):
        rows = image[:, kept > 0].T
        found.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return [rows for rows in found if len(rows)]


def naive(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, tau: float = 0.1
) -> list[float]:
    """Image by image, each with each, by scipy."""
    if mask is None:
        mask = torch.ones(len(student), *student.shape[2:])
    student_pixels, teacher_pixels = pixels(student, mask), pixels(teacher, mask)
    values = []
    for i in range(len(student_pixels)):
        divergences = [
            rel_entr(
                softmax(teacher_pixels[i] @ teacher_pixels[j].T / tau, axis=1),
                softmax(student_pixels[i] @ student_pixels[j].T / tau, axis=1),
            ).sum(1)
            for j in range(len(student_pixels))
        ]
        values.append(np.mean(divergences))
    return values


# In a batch


def test_two_pixels_by_hand() -> None:
    student = torch.eye(2, dtype=torch.float64).view(1, 2, 1, 2)
    teacher = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).double().view(1, 2, 1, 2)
    value = cross_image_divergence(student, teacher)
    expected = math.log(0.5) + math.log(1 + math.exp(-10)) + 10 / 2
    assert value.item() == pytest.approx(expected)
    assert value.item() == pytest.approx(4.306898, abs=1e-6)


@pytest.mark.parametrize('max_entries', [1, 200, 10**6])
@pytest.mark.parametrize('masked', [False, True])
def test_equals_a_naive_loop(max_entries: int, masked: bool) -> None:
    student, teacher = maps(images=3)
    mask = (torch.rand(3, 4, 5) < 0.6).float() if masked else None
    value = cross_image_divergence(
        student, teacher, mask=mask, max_entries=max_entries, reduction='none'
    )
    assert value.tolist() == pytest.approx(naive(student, teacher, mask))


def test_large_maps_are_pooled_and_what_is_dropped_adds_nothing() -> None:
    student, teacher = maps(5, 4, 2)
    mask = (torch.rand(2, 5, 4) < 0.5).float()
    mask[0, :2, :2] = 0  # a whole node

    def pooled(feature: Tensor) -> tuple[Tensor, Tensor]:
        nodes, there = np.zeros((2, feature.shape[1], 3, 2)), np.zeros((2, 3, 2))
        for image in range(2):
            for row in range(3):
                for column in range(2):
                    square = np.s_[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                    kept = mask[image].numpy()[square] > 0
                    if kept.any():
                        pixels = feature[image].numpy()[(np.s_[:], *square)]
                        nodes[image, :, row, column] = pixels[:, kept].mean(1)
                        there[image, row, column] = 1
        return torch.from_numpy(nodes), torch.from_numpy(there)

    nodes, there = zip(*(pooled(item) for item in (student, teacher)), strict=True)
    for nodes_at_most in (19, 6):
        value = cross_image_divergence(
            student, teacher, max_nodes=nodes_at_most, mask=mask
        )
        assert value.item() == pytest.approx(np.mean(naive(*nodes, there[0])))
    plain = cross_image_divergence(student, teacher, max_nodes=20, mask=mask)
    assert plain.item() == pytest.approx(np.mean(naive(student, teacher, mask)))


def test_nothing_to_learn_where_they_are_alike() -> None:
    student, _ = maps(images=3)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    lengths = torch.rand(3, 1, 4, 5, dtype=torch.float64) + 0.1
    teacher = torch.einsum('ab,nbhw->nahw', rotation, student * lengths)
    student.requires_grad_()
    value = cross_image_divergence(student, teacher)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert_close(gradient(value, student), torch.zeros_like(student))


def test_gradient_is_right_in_blocks_too() -> None:
    student, teacher = maps(2, 1, 2)
    student.requires_grad_()
    mask = torch.ones(2, 2, 1)
    mask[1, 0] = 0
    for max_entries in (8, 10**6):
        assert torch.autograd.gradcheck(
            lambda item, entries=max_entries: cross_image_divergence(
                item, teacher, temperature=0.5, mask=mask, max_entries=entries
            ),
            (student,),
        )


def test_repeating_the_batch_leaves_the_mean() -> None:
    student, teacher = maps(images=3)
    value = cross_image_divergence(student, teacher)
    twice = [torch.cat([item, item]) for item in (student, teacher)]
    assert_close(cross_image_divergence(*twice), value)
    order = torch.tensor([2, 0, 1])
    each = cross_image_divergence(student, teacher, reduction='none')
    permuted = cross_image_divergence(student[order], teacher[order], reduction='none')
    assert_close(permuted, each[order])


def test_an_image_without_pixels_is_dropped() -> None:
    student, teacher = maps(images=3)
    mask = torch.ones(3, 4, 5)
    mask[1] = 0
    student[1], teacher[1] = torch.inf, torch.nan
    student.requires_grad_()
    value = cross_image_divergence(student, teacher, mask=mask)
    kept = [0, 2]
    assert_close(value, cross_image_divergence(student[kept], teacher[kept]))
    slope = gradient(value, student)
    assert slope.isfinite().all() and not slope[1].any()
    each = cross_image_divergence(student, teacher, mask=mask, reduction='none')
    assert each[1] == 0


@pytest.mark.parametrize('images', [0, 2])
def test_nothing_to_compare_is_zero_with_a_graph(images: int) -> None:
    student, teacher = maps(images=images)
    student.requires_grad_()
    mask = torch.zeros(images, 4, 5)
    value = cross_image_divergence(student, teacher, mask=mask)
    assert value.item() == 0
    assert not gradient(value, student).any()


def test_dead_and_huge_pixels_stay_finite() -> None:
    student, teacher = (100 * item.half() for item in maps(images=3))
    student[:, :, 1] = 0
    teacher[0] = 0
    student.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = cross_image_divergence(student, teacher)
    slope = gradient(value, student)
    assert value.dtype == torch.float32 and value.isfinite()
    assert slope.isfinite().all() and not slope[:, :, 1].any()


def test_blocks_bound_what_is_kept_for_the_backward_pass() -> None:
    student, teacher = torch.randn(2, 2, 4, 16, 16)
    student.requires_grad_()

    def kept(max_entries: int) -> int:
        sizes = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            cross_image_divergence(student, teacher, max_entries=max_entries)
        return sum(sizes.values())

    nodes = 2 * 16 * 16
    assert kept(10**9) >= nodes**2
    assert kept(32 * nodes) <= nodes * 4 * 10


# To a memory


def remembered(count: int = 7) -> Tensor:
    return nn.functional.normalize(torch.randn(count, 4, dtype=torch.float64))


def test_one_pixel_by_hand() -> None:
    student, teacher = torch.eye(2, dtype=torch.float64).split(1)
    value = memory_divergence(student, teacher, torch.eye(2), temperature=1.0)
    p = 1 / (1 + math.exp(-1))  # of the likelier, of both
    assert value.item() == pytest.approx((2 * p - 1) * 1.0)


@pytest.mark.parametrize('max_entries', [1, 20, 10**6])
def test_a_memory_equals_scipy(max_entries: int) -> None:
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64)
    memory = remembered()
    student_probs, teacher_probs = (
        softmax(nn.functional.normalize(item).numpy() @ memory.numpy().T / 0.1, axis=1)
        for item in (student, teacher)
    )
    expected = torch.from_numpy(rel_entr(teacher_probs, student_probs).sum(1))
    value = memory_divergence(
        student, teacher, memory, max_entries=max_entries, reduction='none'
    )
    assert_close(value, expected)
    mask = torch.tensor([1.0, 0, 2, 1, 0])
    weighted = memory_divergence(student, teacher, memory, mask=mask)
    assert_close(weighted, (expected * mask).sum() / 4)


def test_gradient_to_a_memory_is_right_in_blocks_too() -> None:
    student, teacher = torch.randn(2, 3, 4, dtype=torch.float64)
    student.requires_grad_()
    memory = remembered(5)
    for max_entries in (10, 10**6):
        assert torch.autograd.gradcheck(
            lambda item, entries=max_entries: memory_divergence(
                item, teacher, memory, temperature=0.5, max_entries=entries
            ),
            (student,),
        )


def test_a_memory_of_any_order_and_length_of_pixels() -> None:
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64)
    memory = remembered()
    value = memory_divergence(student, teacher, memory)
    order = torch.randperm(7)
    assert_close(memory_divergence(9 * student, teacher / 9, memory[order]), value)
    assert memory_divergence(teacher, teacher, memory).item() == 0
    step = teacher - student
    assert memory_divergence(student + 0.3 * step, teacher, memory) < value


def test_a_memory_of_other_channels_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'memory must be \(M, 4\), got \(7, 3\)'):
        memory_divergence(torch.zeros(2, 4), torch.zeros(2, 4), torch.zeros(7, 3))
