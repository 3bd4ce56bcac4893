"""What the views of one training step share."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .base import Recorder
from .run import ModelRun

Result = TypeVar('Result')


@dataclass
class Step:
    """One training step with one teacher, after the student's losses are computed.

    Attributes:
        student: the student model.
        captured: what was captured from the student, by capture.
        teacher: the teacher, its features computed.
        data_samples: of the batch, as the host hands them out.
    """

    student: Any
    captured: dict[Recorder, Any]
    teacher: ModelRun
    data_samples: list[Any]
    _memory: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Result of ``compute`` on the student, shared by the pairs that ask for it."""
        if key not in self._memory:
            self._memory[key] = compute()
        result: Result = self._memory[key]
        return result
