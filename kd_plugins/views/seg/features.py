"""What the classifier of a segmentation head reads, and what lies before the head."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ...recorders import LayerRecorder, Recorder, record_method
from ..base import MatchedTensors, Shape, UnservedError
from ..heads import head_outputs
from ..probe import Probe
from ..run import ModelRun
from ..view import FeatureSource
from .decode import DECODE_HEAD, decode_stage, resized

_BACKBONE = LayerRecorder('backbone')


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


def features_of(
    probe: Probe, stage: int | None, logits: Shape
) -> dict[str, FeatureSource]:
    """What the student knows of the pixels of its logits, at their size.

    'features' is what the classifier reads, before dropout; 'early_features' the last
    level but one of the backbone, interpolated. A model without one of them has it not.

    Args:
        probe: runs the student on a black image.
        stage: of a cascade, from 0; None: the last.
        logits: shape (N, K, H, W) of the logits of that image.
    """
    recorder = ClassifierRecorder(stage)
    with probe.run('student', (recorder, _BACKBONE)) as run:
        head_outputs(run, DECODE_HEAD)
        read = run.records[recorder].seen[-1:]
        levels = run.records[_BACKBONE].outputs
    head = decode_stage(probe.student, stage, 'seg.logits')
    found = {}
    if read and read[0].shape[2:] == logits[2:]:
        found['features'] = FeatureSource(
            (tuple(read[0].shape),),
            lambda student, _: [student.records[recorder].last()],
            (recorder,),
        )
    if len(levels) > 1 and levels[-2].dim() == 4:

        def early(
            student: ModelRun, matched: Sequence[MatchedTensors | None]
        ) -> list[Tensor | None]:
            level = student.records[_BACKBONE].outputs[-2]
            return [
                None if item is None else resized(level, item.student.shape[2:], head)
                for item in matched
            ]

        shape = (logits[0], levels[-2].shape[1], *logits[2:])
        found['early_features'] = FeatureSource((shape,), early, (_BACKBONE,))
    return found
