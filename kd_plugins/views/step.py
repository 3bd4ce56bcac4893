"""What the views of one training step share."""

from dataclasses import dataclass
from typing import Any

from .base import Capture
from .run import ModelRun


@dataclass
class Step:
    """One training step, after the student's own losses are computed.

    Attributes:
        student: the student model.
        captured: what was captured from the student, by capture.
        teacher: this pair's teacher, its features computed.
        data_samples: of the batch, as the host hands them out.
    """

    student: Any
    captured: dict[Capture, Any]
    teacher: ModelRun
    data_samples: list[Any]
