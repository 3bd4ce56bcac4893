"""Focal and global distillation: masks from boxes, attention, and context blocks."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.cnn import ContextBlock as HostContextBlock
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import (
    FGDLoss,
    LossContext,
    StepData,
    focal_distance,
    global_distance,
)
from kd_plugins.losses._attention import channel_attention, spatial_attention
from kd_plugins.losses._context import ContextBlock
from kd_plugins.losses._foreground import focal_masks

from ._cases import TRAINED, LearnedCase, features
from ._common import backward, gradient

# Four images of 16x32 with the same two boxes, for the tests of at most four rows that
# call the loss themselves.
BOXES = LossContext(
    level=0,
    step=StepData(
        samples=4
        * [
            SimpleNamespace(
                gt_instances=SimpleNamespace(
                    bboxes=torch.tensor([[0.0, 0.0, 8.0, 8.0], [9.0, 3.0, 30.0, 8.0]])
                )
            )
        ],
        inputs=torch.zeros(4, 3, 16, 32),
    ),
)
CASES = [
    LearnedCase(
        'fgd',
        FGDLoss,
        features(4, 2, 4),
        {
            'channels': 4,
            'foreground_weight': 1.0,
            'background_weight': 0.5,
            'attention_weight': 0.5,
            'context_weight': 0.1,
        },
        BOXES,
        opt_outs=TRAINED,
    ),
]

SIZE = (32, 48)  # of the input; its map is 4 x 6
WEIGHTS = dict(foreground_weight=2.0, background_weight=0.5, attention_weight=0.25)


def maps(images: int = 2) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, images, 4, 4, 6, dtype=torch.float64)
    return student.requires_grad_(), teacher


def box(*edges: float) -> Tensor:
    return torch.tensor([edges], dtype=torch.float64)


def random_boxes(count: int) -> Tensor:
    """Of any size, some beyond the input."""
    corner = torch.rand(count, 2, dtype=torch.float64) * torch.tensor([48.0, 32.0])
    return torch.cat([corner, corner + 30 * torch.rand(count, 2)], dim=1)


def naive_masks(boxes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The released code's loop over boxes, on slices that numpy clips."""
    foreground = np.zeros((4, 6))
    for left, top, right, bottom in boxes.tolist():
        box = (
            slice(math.floor(top / 8), math.ceil(bottom / 8) + 1),
            slice(math.floor(left / 8), math.ceil(right / 8) + 1),
        )
        pixels = foreground[box]
        foreground[box] = np.maximum(pixels, 1 / max(pixels.size, 1))
    background = (foreground == 0).astype(float)
    return foreground, background / max(background.sum(), 1)


def naive_attention(feature: np.ndarray, temperature: float) -> tuple[Any, Any]:
    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values / temperature)
        return powers / powers.sum() * powers.size

    strength = np.abs(feature)
    return softmax(strength.mean(0)), softmax(strength.mean((1, 2)))


def naive(student: Tensor, teacher: Tensor, boxes: list[Tensor], t: float) -> list[Any]:
    """Pixel by pixel, image by image."""
    values = []
    for student_item, teacher_item, of_image in zip(
        student.detach().numpy(), teacher.numpy(), boxes, strict=True
    ):
        foreground, background = naive_masks(of_image)
        teacher_pixels, teacher_channels = naive_attention(teacher_item, t)
        student_pixels, student_channels = naive_attention(student_item, t)
        value = 0.0
        for c, i, j in np.ndindex(student_item.shape):
            error = (
                (teacher_item[c, i, j] - student_item[c, i, j]) ** 2
                * teacher_pixels[i, j]
                * teacher_channels[c]
            )
            value += 2.0 * foreground[i, j] * error + 0.5 * background[i, j] * error
        value += 0.25 * np.abs(teacher_pixels - student_pixels).sum()
        value += 0.25 * np.abs(teacher_channels - student_channels).sum()
        values.append(value)
    return values


# Attention


def test_attention_by_hand() -> None:
    feature = torch.tensor([[[[0.0, -1.0]], [[0.0, math.log(3) - 1]]]])
    expected = torch.tensor([0.5, 1.5])  # of means 0 and ln(3) / 2
    assert_close(spatial_attention(feature, 0.5).flatten(), expected)
    # The same means, over two pixels instead of two channels.
    turned = feature.transpose(1, 3)
    assert_close(channel_attention(turned, 0.5).flatten(), expected)


@pytest.mark.parametrize('temperature', [0.1, 0.5, 5.0])
def test_attention_sums_to_pixels_and_channels(temperature: float) -> None:
    _, feature = maps()
    pixels = spatial_attention(feature, temperature)
    channels = channel_attention(feature, temperature)
    assert pixels.shape == (2, 1, 4, 6) and channels.shape == (2, 4, 1, 1)
    assert pixels.sum(dim=(1, 2, 3)).tolist() == pytest.approx([24, 24])
    assert channels.sum(dim=(1, 2, 3)).tolist() == pytest.approx([4, 4])
    for image in range(2):
        expected = naive_attention(feature[image].numpy(), temperature)
        assert_close(pixels[image, 0], torch.from_numpy(expected[0]))
        assert_close(channels[image, :, 0, 0], torch.from_numpy(expected[1]))


# Masks


def test_masks_by_hand() -> None:
    foreground, background = focal_masks([box(9, 1, 16, 8)], SIZE, (4, 6))
    expected = torch.zeros(4, 6, dtype=torch.float64)
    expected[0:2, 1:3] = 0.25  # both ends included
    assert_close(foreground[0], expected)
    assert_close(background[0], (expected == 0).double() / 20)


def test_where_boxes_overlap_the_smaller_wins() -> None:
    boxes = torch.cat([box(0, 0, 47, 31), box(9, 1, 16, 8)])
    foreground, background = focal_masks([boxes], SIZE, (4, 6))
    assert foreground[0, 1, 2] == 0.25
    assert foreground[0, 3, 5] == 1 / 24
    assert not background.any()  # all of the map is foreground


def test_every_box_weighs_the_same_whatever_its_size() -> None:
    for size in (1, 7, 20, 31, 60):
        foreground, _ = focal_masks([box(8, 8, 8 + size, 8 + size)], SIZE, (4, 6))
        assert foreground.sum().item() == pytest.approx(1)


def test_without_boxes_all_is_background() -> None:
    foreground, background = focal_masks([torch.zeros(0, 4)], SIZE, (4, 6))
    assert not foreground.any()
    assert_close(background, torch.full((1, 4, 6), 1 / 24))


def test_a_box_beside_the_map_covers_nothing() -> None:
    foreground, background = focal_masks([box(100, 0, 120, 8)], SIZE, (4, 6))
    assert not foreground.any()
    assert background.sum().item() == pytest.approx(1)


@pytest.mark.parametrize('count', [1, 2, 5])
def test_masks_equal_the_released_loop(count: int) -> None:
    for _ in range(10):
        boxes = random_boxes(count)
        masks = focal_masks([boxes], SIZE, (4, 6))
        for mask, expected in zip(masks, naive_masks(boxes), strict=True):
            assert_close(mask[0], torch.from_numpy(expected))


def test_boxes_on_the_edge_of_a_cell_stay_on_it() -> None:
    """In float32, 24 / 1344 * 168 is more than 3."""
    pixels = torch.arange(0, 1344, 8.0)
    boxes = torch.stack([pixels, pixels * 0, pixels, pixels * 0], dim=1)
    for number, edges in enumerate(boxes):
        foreground, _ = focal_masks([edges[None]], (800, 1344), (100, 168))
        assert foreground.nonzero().tolist() == [[0, 0, number]]


# Focal and global distance


def test_one_object_by_hand() -> None:
    """Equal strength everywhere: attention is 1; 4 in 4 pixels of 1/4, 1 in 20."""
    teacher = torch.ones(1, 1, 4, 6)
    student = -torch.ones(1, 1, 4, 6)  # a squared error of 4
    value = focal_distance(student, teacher, [box(9, 1, 16, 8)], SIZE, **WEIGHTS)
    assert value.item() == pytest.approx(2.0 * 4 + 0.5 * 4)


def test_attention_of_both_is_compared_by_hand() -> None:
    """Cells (0.5, 1.5) of the teacher, (1, 1) of the student."""
    teacher = torch.tensor([0.0, math.log(3) / 2]).view(1, 1, 1, 2)
    student = torch.zeros(1, 1, 1, 2)
    options = dict(WEIGHTS, foreground_weight=0, background_weight=0)
    value = focal_distance(student, teacher, [torch.zeros(0, 4)], (8, 16), **options)
    assert value.item() == pytest.approx(0.25 * (0.5 + 0.5))


@pytest.mark.parametrize('temperature', [0.5, 0.8])
def test_equals_a_naive_loop(temperature: float) -> None:
    student, teacher = maps()
    boxes = [random_boxes(3), torch.zeros(0, 4, dtype=torch.float64)]
    options = dict(WEIGHTS, temperature=temperature)
    value = focal_distance(student, teacher, boxes, SIZE, **options, reduction='none')
    assert value.tolist() == pytest.approx(naive(student, teacher, boxes, temperature))


def test_only_the_attention_of_the_teacher_weighs_features() -> None:
    student, teacher = maps()
    boxes = [random_boxes(2), random_boxes(1)]
    options = dict(WEIGHTS, attention_weight=0.0)
    value = focal_distance(student, teacher, boxes, SIZE, **options)
    foreground, background = focal_masks(boxes, SIZE, (4, 6))
    weights = (2.0 * foreground + 0.5 * background)[:, None]
    weights = weights * spatial_attention(teacher, 0.5)
    weights = weights * channel_attention(teacher, 0.5)
    # Divided by two images.
    assert_close(gradient(value, student), weights * (student - teacher).detach())


def test_attention_of_the_student_learns() -> None:
    student, teacher = maps()
    boxes = [torch.zeros(0, 4, dtype=torch.float64)] * 2
    options = dict(foreground_weight=0.0, background_weight=0.0, attention_weight=1.0)
    value = focal_distance(student, teacher, boxes, SIZE, **options)
    moved = student - 1e-3 * gradient(value, student)
    assert focal_distance(moved, teacher, boxes, SIZE, **options) < value


def test_swapping_the_two_changes_it() -> None:
    student, teacher = (item.detach() for item in maps())
    boxes = [random_boxes(2), random_boxes(1)]
    one_way = focal_distance(student, teacher, boxes, SIZE, **WEIGHTS)
    other_way = focal_distance(teacher, student, boxes, SIZE, **WEIGHTS)
    assert not torch.allclose(one_way, other_way)


def test_global_distance_equals_numpy() -> None:
    student, teacher = maps()
    expected = ((student.detach() - teacher).numpy() ** 2).sum((1, 2, 3))
    value = global_distance(student, teacher, reduction='none')
    assert value.tolist() == pytest.approx(expected.tolist())
    assert global_distance(student, teacher).item() == pytest.approx(expected.mean())


# Context blocks


def filled(block: nn.Module) -> Any:
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    return block


def test_a_context_block_starts_as_nothing() -> None:
    feature = torch.randn(2, 6, 3, 5)
    assert torch.equal(ContextBlock(6)(feature), feature)


def test_a_context_block_equals_the_hosts() -> None:
    block = filled(ContextBlock(6))
    host = HostContextBlock(6, ratio=0.5)
    layers = dict(zip([0, 1, 3], [block.transform[i] for i in (0, 1, 3)], strict=True))
    with torch.no_grad():
        host.conv_mask.weight.copy_(block.pixels.weight)
        host.conv_mask.bias.fill_(0.7)  # cancels in the softmax
        for index, layer in layers.items():
            host_layer = host.channel_add_conv[index]
            host_layer.weight.copy_(layer.weight.view_as(host_layer.weight))
            host_layer.bias.copy_(layer.bias.view_as(host_layer.bias))
    feature = torch.randn(2, 6, 3, 5)
    assert_close(block(feature), host(feature))


# The module


def sample(boxes: Any) -> DetDataSample:
    found = DetDataSample()
    found.gt_instances = InstanceData(bboxes=boxes)
    return found


def context_of(*samples: Any, size: tuple[int, int] = SIZE) -> LossContext:
    return LossContext(
        step=StepData(samples=samples, inputs=torch.zeros(len(samples), 3, *size))
    )


def build(**options: Any) -> FGDLoss:
    return FGDLoss(**{'channels': 4, **WEIGHTS, 'context_weight': 0.1, **options})


def test_reads_boxes_and_padded_size_from_the_context() -> None:
    student, teacher = (item.detach().float() for item in maps())
    boxes = [random_boxes(2).float(), torch.zeros(0, 4)]
    context = context_of(sample(boxes[0]), sample(HorizontalBoxes(boxes[1])))
    value = build(loss_weight=3.0)(student, teacher, context=context)
    # At first both context blocks add nothing.
    focal = focal_distance(student, teacher, boxes, SIZE, **WEIGHTS)
    expected = 3 * (focal + 0.1 * global_distance(student, teacher))
    assert_close(value, expected)
    smaller = context_of(*context.step.samples, size=(24, 40))
    assert build(loss_weight=3.0)(student, teacher, context=smaller) != value


def test_context_blocks_of_both_sides_count() -> None:
    student, teacher = torch.randn(2, 2, 8, 4, 6)
    options = dict(foreground_weight=0, background_weight=0, attention_weight=0)
    loss = filled(build(channels=8, **options))
    context = context_of(sample(torch.zeros(0, 4)), sample(torch.zeros(0, 4)))
    blocks = loss.blocks['0']
    expected = global_distance(blocks.student(student), blocks.teacher(teacher))
    assert_close(loss(student, teacher, context=context), 0.1 * expected)
    backward(loss(student, teacher, context=context))
    for parameter in blocks.parameters():
        assert parameter.grad is not None and parameter.grad.any()


def test_a_dry_run_has_no_boxes_yet() -> None:
    student, teacher = (item.detach().float() for item in maps())
    context = LossContext(step=StepData(inputs=torch.zeros(2, 3, *SIZE)))
    boxes = [torch.zeros(0, 4)] * 2
    value = build(context_weight=0)(student, teacher, context=context)
    assert_close(value, focal_distance(student, teacher, boxes, SIZE, **WEIGHTS))


@pytest.mark.parametrize(
    ('context', 'message'),
    [
        (None, 'called without context.step.samples and context.step.inputs'),
        (LossContext(), 'called without context.step.samples and context.step.inputs'),
        (
            context_of(SimpleNamespace(gt_sem_seg=1), SimpleNamespace(gt_sem_seg=1)),
            r'needs gt_instances.bboxes \(n, 4\) of every image, and a SimpleNamespace '
            'has none. Use it with a detector, or .*MGDLoss',
        ),
        (
            context_of(sample(torch.zeros(3, 5)), sample(torch.zeros(3, 5))),
            r'a DetDataSample has \(3, 5\)',
        ),
        (
            context_of(sample(torch.zeros(1, 4))),
            'boxes must be one tensor for each of 2 images, got 1',
        ),
    ],
)
def test_without_boxes_it_says_what_it_needs(context: Any, message: str) -> None:
    student, teacher = (item.detach().float() for item in maps())
    with pytest.raises(ShapeError, match=message):
        build()(student, teacher, context=context)


@pytest.mark.parametrize(
    'name',
    ['foreground_weight', 'background_weight', 'attention_weight', 'context_weight'],
)
def test_impossible_options_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f'{name} must be a finite number >= 0'):
        build(**{name: -1})
    with pytest.raises(ConfigError, match='temperature must be a finite number > 0'):
        build(temperature=0)
