"""What the classifier of a segmentation head reads, before dropout."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ...recorders import Recorder, record_method
from ..base import UnservedError
from .decode import decode_stage


@dataclass
class ClassifierInputs:
    """What the classifier of a decode head read, call by call."""

    owner: str
    seen: list[Tensor] = field(default_factory=list)

    def last(self) -> Tensor:
        """The last of them.

        Raises: UnservedError if there is none.
        """
        if not self.seen:
            raise UnservedError(
                f"decode_head {self.owner} does not classify pixels by its 'cls_seg', "
                'so seg.features has nothing to match.'
            )
        return self.seen[-1]


@dataclass(frozen=True)
class ClassifierRecorder(Recorder[ClassifierInputs]):
    """The feature that one stage of the decode head classifies."""

    stage: int | None = None

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[ClassifierInputs]:
        """Record within the block; yields the features."""
        head = decode_stage(model, self.stage, 'seg.features')
        inputs = ClassifierInputs(type(head).__name__)

        def read(args: tuple[Any, ...], result: Any) -> None:
            inputs.seen.append(args[0])

        with record_method(head, 'cls_seg', read):
            yield inputs
