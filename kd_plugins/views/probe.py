"""A small dry run of both models, to know shapes before training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .base import View
from .run import ModelRun, attached, frozen

# Large enough for stride 64, small enough to be cheap; no batch is seen yet.
_SIDE = 128


@dataclass
class Probe:
    """Both models, and the teacher's input size over that of the student."""

    student: Any
    teacher: Any
    teacher_name: str = 'teacher'
    scale: float = 1.0

    @contextmanager
    def run(self, model: nn.Module, view: View, which: str) -> Iterator[ModelRun]:
        """Features of either model for a black image of 128x128 (times ``scale``)."""
        side = int(_SIDE * (self.scale if which == 'teacher' else 1.0))
        captures = (
            view.teacher_captures() if which == 'teacher' else view.student_captures()
        )
        parameter = next(model.parameters())
        inputs = torch.zeros(
            1, 3, side, side, device=parameter.device, dtype=parameter.dtype
        )
        with frozen(model), attached(model, captures) as captured:
            yield ModelRun(model, inputs, captured, reach='heads')
