"""A small dry run of both models, to know shapes before training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ConfigError
from ..teachers.class_map import ClassMap
from .base import View
from .run import ModelRun, attached, frozen

# Large enough for stride 64, small enough to be cheap; no batch is seen yet.
SIDE = 128


@dataclass
class Probe:
    """Both models, and what is known of how they differ.

    Attributes:
        student: the student model.
        teacher: the teacher's.
        teacher_name: under which pairs ask for it.
        scale: the teacher's input size over that of the student.
        class_map: which classes they share, where they know others.
    """

    student: Any
    teacher: Any
    teacher_name: str = 'teacher'
    scale: float = 1.0
    class_map: ClassMap | None = None

    @contextmanager
    def run(self, view: View, which: str, where: str) -> Iterator[ModelRun]:
        """Features of either model for a black image of 128x128 (times ``scale``).

        Args:
            view: whose captures are attached.
            which: 'student' or 'teacher'.
            where: configuration key of the pair, for messages.

        Raises: ConfigError if the model cannot be run that way.
        """
        model = self.teacher if which == 'teacher' else self.student
        side = round(SIDE * (self.scale if which == 'teacher' else 1.0))
        captures = (
            view.teacher_recorders() if which == 'teacher' else view.student_recorders()
        )
        parameter = next(model.parameters())
        inputs = torch.zeros(
            1, 3, side, side, device=parameter.device, dtype=parameter.dtype
        )
        try:
            with frozen(model), attached(model, captures) as captured:
                yield ModelRun(model, inputs, captured, reach='heads')
        except ConfigError:
            raise
        except Exception as error:  # whatever a foreign model may raise
            raise ConfigError(
                f'{where}: a dry run of the {which} ({type(model).__name__}) failed: '
                f'{type(error).__name__}: {error}. Choose a layer of its backbone or '
                'neck.'
            ) from error
