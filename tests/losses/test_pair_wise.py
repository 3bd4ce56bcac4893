"""Pair-wise distillation: the affinities of the nodes of a map."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import PairWiseLoss, pair_wise_affinity
from kd_plugins.losses.pair_wise import node_kernel

from ._cases import ANY_CHANNELS, LossCase, features
from ._common import gradient, maps

CASES = [
    LossCase('pair_wise', PairWiseLoss, features(3, 4, 5), opt_outs=ANY_CHANNELS),
    LossCase(
        'pair_wise-every_option',
        PairWiseLoss,
        features(3, 4, 5),
        {'max_nodes': 12, 'pool': 'max', 'connection_range': 4, 'max_entries': 20},
        opt_outs=ANY_CHANNELS
        | {
            'test_behind_a_layer_under_autocast': (
                'in bfloat16 another pixel may be the maximum: the gradient goes there'
            ),
        },
    ),
]


def affinities(feature: Tensor) -> list[np.ndarray]:
    """Cosines between all pixels of each image, by numpy."""
    found = []
    for image in feature.detach().numpy():
        pixels = image.reshape(len(image), -1).T
        lengths = np.linalg.norm(pixels, axis=1)
        found.append(pixels @ pixels.T / np.outer(lengths, lengths))
    return found


def naive(student: Tensor, teacher: Tensor, alpha: int | None = None) -> list[float]:
    """Pixel by pixel: alpha nearest ones, the first of those equally near."""
    _, _, height, width = student.shape
    pixels = [(row, column) for row in range(height) for column in range(width)]
    values = []
    for student_item, teacher_item in zip(
        affinities(student), affinities(teacher), strict=True
    ):
        total = 0.0
        for i, pixel in enumerate(pixels):
            order = sorted(
                range(len(pixels)), key=lambda j: math.dist(pixel, pixels[j])
            )
            for j in order[:alpha]:
                total += (student_item[i, j] - teacher_item[i, j]) ** 2
        values.append(total / (len(pixels) * min(alpha or len(pixels), len(pixels))))
    return values


def test_two_nodes_by_hand() -> None:
    student = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 2, 1, 2)
    teacher = torch.eye(2).view(1, 2, 1, 2)
    assert pair_wise_affinity(student, teacher, pool_kernel=1).item() == 0.5


@pytest.mark.parametrize('alpha', [None, 1, 5, 7, 20, 100])
@pytest.mark.parametrize('max_entries', [1, 2 * 20 * 6, 10**6])
def test_equals_a_naive_loop(alpha: int | None, max_entries: int) -> None:
    student, teacher = maps()
    value = pair_wise_affinity(
        student,
        teacher,
        pool_kernel=1,
        connection_range=alpha,
        max_entries=max_entries,
        reduction='none',
    )
    assert value.tolist() == pytest.approx(naive(student, teacher, alpha))


@pytest.mark.parametrize('pool', ['average', 'max'])
def test_nodes_are_pooled_pixels_and_the_border_may_hold_fewer(pool: str) -> None:
    student, teacher = maps(5, 4)

    def pooled(feature: Tensor) -> Tensor:
        reduce = {'average': np.mean, 'max': np.max}[pool]
        nodes = np.zeros((2, feature.shape[1], 3, 2))
        for row in range(3):
            for column in range(2):
                square = feature.numpy()[
                    :, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2
                ]
                nodes[:, :, row, column] = reduce(square, axis=(2, 3))
        return torch.from_numpy(nodes)

    value = pair_wise_affinity(student, teacher, pool=pool)  # a kernel of 2
    expected = np.mean(naive(pooled(student), pooled(teacher)))
    assert value.item() == pytest.approx(expected)


def test_equals_the_released_code() -> None:
    """Maximum over half the side, detached norms, sum / nodes^2 / N."""
    student, teacher = maps(6, 6)
    student.requires_grad_()

    def similarity(feature: Tensor) -> Tensor:
        feature = torch.nn.functional.max_pool2d(feature, 3, 3, ceil_mode=True)
        norm = feature.square().sum(1, keepdim=True).sqrt() + 1e-8
        nodes = (feature / norm.detach()).flatten(2)
        return torch.einsum('icm,icn->imn', [nodes, nodes])

    difference = similarity(teacher) - similarity(student)
    released = difference.square().sum() / 4**2 / 2
    value = pair_wise_affinity(
        student, teacher, pool_kernel=3, pool='max', detach_norm=True
    )
    assert_close(value, released)
    assert_close(gradient(value, student), gradient(released, student))


def test_chunks_change_neither_value_nor_gradient() -> None:
    student, teacher = maps(6, 7)
    student.requires_grad_()
    values, gradients = [], []
    for max_entries in (1, 100, 10**6):
        value = pair_wise_affinity(
            student, teacher, pool_kernel=1, connection_range=9, max_entries=max_entries
        )
        values.append(value)
        gradients.append(gradient(value, student))
    for value, chunk_gradient in zip(values[1:], gradients[1:], strict=True):
        assert_close(value, values[0])
        assert_close(chunk_gradient, gradients[0])


def test_chunks_bound_what_is_kept_for_the_backward_pass() -> None:
    student, teacher = torch.randn(2, 1, 4, 32, 32)
    student.requires_grad_()

    def kept(max_entries: int) -> int:
        sizes = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = pair_wise_affinity(
                student,
                teacher,
                pool_kernel=1,
                max_entries=max_entries,
                connection_range=100,
            )
        assert value > 0
        return sum(sizes.values())

    nodes = 32 * 32
    assert kept(10**9) >= nodes**2
    # The nodes, which every chunk needs, and no affinity.
    assert kept(8 * nodes) <= nodes * 4 * 8


@pytest.mark.parametrize('detach_norm', [False, True])
def test_length_of_a_node_and_mixing_of_channels_do_not_matter(
    detach_norm: bool,
) -> None:
    student, teacher = maps()
    value = pair_wise_affinity(student, teacher, pool_kernel=1, detach_norm=detach_norm)
    lengths = torch.rand(2, 1, 4, 5, dtype=torch.float64) + 0.1
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    mixed = torch.einsum('ab,nbhw->nahw', rotation, student * lengths)
    changed = pair_wise_affinity(mixed, teacher, pool_kernel=1, detach_norm=detach_norm)
    assert_close(changed, value)


def test_gradient_through_the_norms_is_right_and_detached_is_not_the_same() -> None:
    student, teacher = maps()
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda item: pair_wise_affinity(item, teacher, pool_kernel=1, max_entries=50),
        (student,),
    )
    through, detached = (
        gradient(
            pair_wise_affinity(student, teacher, pool_kernel=1, detach_norm=detach),
            student,
        )
        for detach in (False, True)
    )
    # Along the node itself nothing changes: only the true gradient knows.
    assert_close((through * student).sum(1), torch.zeros(2, 4, 5).double())
    assert not torch.allclose(
        (detached * student).sum(1), torch.zeros(2, 4, 5).double()
    )


def test_dead_nodes_give_neither_infinity_nor_nan() -> None:
    student, teacher = maps()
    student[:, :, 1:3] = 0
    student.requires_grad_()
    value = pair_wise_affinity(student, teacher, pool_kernel=1)
    student_gradient = gradient(value, student)
    assert value.isfinite()
    assert student_gradient.isfinite().all()
    assert not student_gradient[:, :, 1:3].any()


@pytest.mark.parametrize(
    ('size', 'pool_kernel', 'max_nodes', 'expected'),
    [
        ((65, 65), None, None, 2),
        ((65, 65), 5, None, 5),
        ((64, 128), None, 900, 4),
        ((64, 128), None, 8192, 1),
        ((64, 128), None, 1, 128),
    ],
)
def test_the_smallest_kernel_that_keeps_to_the_budget(
    size: tuple[int, int], pool_kernel: int, max_nodes: int, expected: int
) -> None:
    assert node_kernel(torch.Size(size), pool_kernel, max_nodes) == expected


def test_module_hands_its_options_on() -> None:
    student, teacher = maps()
    options = dict(max_nodes=9, pool='max', connection_range=3, detach_norm=True)
    value = PairWiseLoss(loss_weight=2.0, max_entries=8, **options)(student, teacher)
    assert_close(value, 2 * pair_wise_affinity(student, teacher, **options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(pool_kernel=0), 'pool_kernel must be a whole number >= 1, got 0'),
        (dict(max_nodes=2.5), 'max_nodes must be a whole number >= 1, got 2.5'),
        (dict(connection_range=-1), 'connection_range must be a whole number >= 1'),
        (dict(max_entries=0), 'max_entries must be a whole number >= 1, got 0'),
        (dict(pool_kernel=2, max_nodes=9), 'exclude each other: remove one'),
        (dict(pool='mean'), "pool must be 'average' or 'max', got 'mean'"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PairWiseLoss(**options)
    with pytest.raises(ConfigError, match=message):
        pair_wise_affinity(*maps(), **options)


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        ((2, 6, 8, 10), r"differ in batch size, height or width .*'ResizeAdapter'"),
        ((3, 6, 4, 5), 'differ in batch size, height or width'),
        ((2, 6), r'teacher must be \(N, C, H, W\), got \(2, 6\)'),
    ],
)
def test_maps_that_do_not_fit_are_refused(
    teacher: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        PairWiseLoss()(maps()[0], torch.zeros(teacher))
