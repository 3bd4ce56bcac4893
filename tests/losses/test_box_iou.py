"""Overlap of boxes: generalised, and its logarithm."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from torchvision.ops import generalized_box_iou_loss

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import BoxIoULoss, box_iou_distance

from ._cases import LossCase, Rows
from ._common import gradient


def boxes(rows: int) -> Rows:
    """Boxes of four to eight pixels a side, and others at most one pixel away."""
    corners = 4 + 4 * torch.rand(rows, 2, dtype=torch.float64)
    box = torch.cat([-corners, corners], dim=1) / 2
    offsets = 2 * torch.rand(2, rows, 4, dtype=torch.float64) - 1
    return {'student': box + offsets[0], 'teacher': box + offsets[1]}


CASES = [
    LossCase('box_iou', BoxIoULoss, boxes),
    LossCase(
        'box_iou-iou',
        BoxIoULoss,
        boxes,
        {'kind': 'iou'},
        opt_outs={
            'test_behind_a_layer_under_autocast': (
                'a random layer makes boxes that do not overlap: there is no gradient'
            ),
        },
    ),
]

# Two squares of side 2 that share an area of 1: union 7, the box around both 9.
SQUARES = (
    torch.tensor([[0.0, 0.0, 2.0, 2.0]], dtype=torch.float64),
    torch.tensor([[1.0, 1.0, 3.0, 3.0]], dtype=torch.float64),
)


@st.composite
def grid_boxes(draw: st.DrawFn) -> Tensor:
    """Boxes (3, 4) whose corners are whole numbers from 0 to 9."""
    rows = []
    for _ in range(3):
        left, top = draw(st.integers(0, 8)), draw(st.integers(0, 8))
        right, bottom = draw(st.integers(left + 1, 9)), draw(st.integers(top + 1, 9))
        rows.append([left, top, right, bottom])
    return torch.tensor(rows, dtype=torch.float64)


def covered_pixels(box: Tensor) -> np.ndarray:
    """The pixels of a 9x9 grid that a box of whole numbers covers."""
    left, top, right, bottom = box.int().tolist()
    grid = np.zeros((9, 9), dtype=bool)
    grid[top:bottom, left:right] = True
    return grid


def test_two_squares_by_hand() -> None:
    value = box_iou_distance(*SQUARES)
    assert value.item() == pytest.approx(1 - 1 / 7 + 2 / 9, rel=1e-12)
    value = box_iou_distance(*SQUARES, kind='iou')
    assert value.item() == pytest.approx(math.log(7), rel=1e-12)


@given(student=grid_boxes(), teacher=grid_boxes())
def test_equals_counted_pixels(student: Tensor, teacher: Tensor) -> None:
    expected, logarithms = [], []
    for student_box, teacher_box in zip(student, teacher, strict=True):
        student_pixels, teacher_pixels = (
            covered_pixels(student_box),
            covered_pixels(teacher_box),
        )
        inner, union = (
            (student_pixels & teacher_pixels).sum(),
            (student_pixels | teacher_pixels).sum(),
        )
        around = covered_pixels(
            torch.cat(
                [
                    torch.minimum(student_box, teacher_box)[:2],
                    torch.maximum(student_box, teacher_box)[2:],
                ]
            )
        ).sum()
        expected.append(1 - inner / union + (around - union) / around)
        logarithms.append(-math.log(max(inner / union, 1e-6)))
    for kind, each in (('giou', expected), ('iou', logarithms)):
        value = box_iou_distance(student, teacher, kind=kind, reduction='none')
        assert_close(value, torch.tensor(each, dtype=torch.float64))


@pytest.mark.host
@given(student=grid_boxes(), teacher=grid_boxes())
def test_equals_the_hosts_losses(student: Tensor, teacher: Tensor) -> None:
    from mmdet.models.losses.iou_loss import giou_loss, iou_loss

    for kind, host in (('giou', giou_loss), ('iou', iou_loss)):
        value = box_iou_distance(student, teacher, kind=kind)
        assert_close(value, host(student, teacher, eps=1e-6), rtol=1e-5, atol=1e-5)


@given(seed=st.integers(0, 2**16), apart=st.sampled_from([5.0, 50.0]))
def test_value_and_gradient_are_those_of_torchvision(seed: int, apart: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = apart * torch.rand(2, 6, 2, generator=generator, dtype=torch.float64)
    sides = 1 + 9 * torch.rand(2, 6, 2, generator=generator, dtype=torch.float64)
    student, teacher = torch.cat([corners, corners + sides], dim=2)
    student.requires_grad_()
    value = box_iou_distance(student, teacher, reduction='none')
    expected = generalized_box_iou_loss(student, teacher, eps=0.0)
    assert_close(value, expected)
    assert_close(gradient(value.sum(), student), gradient(expected.sum(), student))


@given(
    student=grid_boxes(),
    teacher=grid_boxes(),
    scale=st.floats(0.5, 50),
    shift=st.floats(-100, 100),
    kind=st.sampled_from(['giou', 'iou']),
)
def test_scale_shift_and_mirror_are_not_seen(
    student: Tensor, teacher: Tensor, scale: float, shift: float, kind: str
) -> None:
    value = box_iou_distance(student, teacher, kind=kind)
    moved = [scale * item + shift for item in (student, teacher)]
    assert_close(box_iou_distance(*moved, kind=kind), value)
    mirrored = [-item[:, [2, 3, 0, 1]] for item in (student, teacher)]
    assert_close(box_iou_distance(*mirrored, kind=kind), value)
    assert_close(box_iou_distance(teacher, student, kind=kind), value)


@given(student=grid_boxes(), teacher=grid_boxes())
def test_bounds(student: Tensor, teacher: Tensor) -> None:
    value = box_iou_distance(student, teacher, reduction='none')
    assert ((value >= 0) & (value <= 2)).all()
    assert (box_iou_distance(student, student, reduction='none').abs() < 1e-12).all()
    assume(not torch.equal(student, teacher))
    assert value.sum() > 0


def test_boxes_far_apart_are_still_drawn_together() -> None:
    teacher = SQUARES[0]
    for kind, drawn in (('giou', True), ('iou', False)):
        student = (teacher + 10).requires_grad_()
        derivative = gradient(box_iou_distance(student, teacher, kind=kind), student)
        assert bool(derivative.any()) is drawn
        if drawn:  # the near corner towards the teacher
            assert (derivative[:, :2] > 0).all()


def test_boxes_without_an_area_are_finite() -> None:
    flat = torch.tensor([[3.0, 3, 3, 3], [5, 5, 2, 2], [1, 1, 4, 1]], dtype=torch.float)
    for kind in ('giou', 'iou'):
        for teacher in (flat, SQUARES[0].float().repeat(3, 1)):
            student = flat.clone().requires_grad_()
            value = box_iou_distance(student, teacher, kind=kind)
            assert value.isfinite()
            assert gradient(value, student).isfinite().all()


def test_the_mask_weighs_rows_once() -> None:
    student, teacher = (item.repeat(3, 1) for item in SQUARES)
    weights = torch.tensor([0.5, 0.0, 1.0])
    value = box_iou_distance(student, teacher, mask=weights, avg_factor=3)
    assert value.item() == pytest.approx(0.5 * (1 - 1 / 7 + 2 / 9), rel=1e-6)


def test_module_hands_its_options_on() -> None:
    loss = BoxIoULoss(loss_weight=2.0, kind='iou', reduction='sum')
    twice = [item.repeat(2, 1) for item in SQUARES]
    assert loss(*twice).item() == pytest.approx(4 * math.log(7), rel=1e-9)


def test_what_are_no_boxes_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"must be \(R, 4\), .*view='cross\.boxes'"):
        BoxIoULoss()(torch.zeros(2, 5), torch.zeros(2, 5))
    with pytest.raises(ConfigError, match="kind must be 'giou' or 'iou', got 'diou'"):
        BoxIoULoss(kind='diou')
    with pytest.raises(ConfigError, match="kind must be 'giou' or 'iou', got 'ciou'"):
        box_iou_distance(*SQUARES, kind='ciou')
