"""Zeros: in the shapes of a level or stage, and for what was not compared."""

from typing import Any

import torch
from torch import Tensor

from ..views import MatchedTensors, TensorSpec

ROWS = 2  # stands for a side, or the rows, of a shape that depends on the batch


def known_shape(shape: tuple[int, ...], rows: int = ROWS) -> tuple[int, ...]:
    """A shape with rows, and two for a height or width, where the batch gives them.

    Example:
        >>> known_shape((-1, 8, -1, -1)), known_shape((-1, 8), rows=0)
        ((2, 8, 2, 2), (0, 8))
    """
    first, *sides = shape
    return (
        rows if first < 0 else first,
        *(ROWS if side < 0 else side for side in sides),
    )


def zeros_of(
    spec: TensorSpec,
    *,
    rows: int,
    channels: int | None = None,
    device: torch.device | None = None,
) -> MatchedTensors:
    """What a level or stage would match, with zeros for values.

    Args:
        spec: of the level or stage.
        rows: stands for the first side of a shape where the batch gives it.
        channels: of a student behind its adapter, which has the teacher's shape
            otherwise; None: the student's tensor before it.
        device: of the tensors.
    """
    teacher = torch.zeros(known_shape(spec.teacher, rows), device=device)
    target = mask = None
    if spec.target is not None:
        maps = teacher.dim() == 4
        # One number a row or pixel is a label; but RPNs ask yes or no.
        labels = len(spec.target) == 3
        if not maps:
            labels = len(spec.target) == 1 and spec.context.activation != 'sigmoid'
        target = torch.zeros(
            known_shape(spec.target, rows),
            dtype=torch.long if labels else torch.float,
            device=device,
        )
        # One number a row; of maps, one a pixel.
        mask = torch.ones(
            (len(teacher), *teacher.shape[2:]) if maps else len(teacher),
            device=device,
        )
    shape = known_shape(spec.student, rows)
    if channels is not None:
        shape = (len(teacher), channels, *teacher.shape[2:])
    features = {
        name: torch.zeros(known_shape(side, rows), device=device)
        for name, side in spec.features.items()
    }
    images = None
    if spec.images is not None:
        images = torch.zeros(len(teacher), dtype=torch.long, device=device)
    return MatchedTensors(
        torch.zeros(shape, device=device),
        teacher,
        target,
        mask,
        count=float(len(teacher)),
        context=spec.context,
        features=features,
        images=images,
    )


class NoRows(MatchedTensors):
    """Of a level or stage that ran on other processes, perhaps, but not on this one.

    Adapters with SyncBN, and losses that learn from all processes, exchange numbers
    forward and backward. A process that left them out would let the others wait.
    """


def no_rows(spec: TensorSpec, device: torch.device) -> NoRows:
    """Of a level or stage that did not run here; its student wants a gradient."""
    item = zeros_of(spec, rows=0, device=device)
    item.student.requires_grad_()
    return NoRows(**vars(item))


class Zero(torch.autograd.Function):
    """0, whose gradient at every parameter is 0: one node for all of them."""

    @staticmethod
    def forward(ctx: Any, device: torch.device, *parameters: Tensor) -> Tensor:
        ctx.likes = [(parameter.shape, parameter.dtype) for parameter in parameters]
        return torch.zeros((), device=device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        zero = torch.zeros((), device=gradient.device)
        return (None, *(zero.to(dtype).expand(shape) for shape, dtype in ctx.likes))
