"""A teacher's part of a step: as far as the active pairs need it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from ..host_types import Samples
from ..recorders import recording
from ..teachers import Teacher
from ..views import BoundView, FrozenRun, run_until


@contextmanager
def teacher_run(
    teacher: Teacher, views: Sequence[BoundView], inputs: Tensor, samples: Samples
) -> Iterator[FrozenRun]:
    """Features of one teacher; within, more of it may be run.

    Args:
        teacher: which one; its weights are loaded the first time.
        views: of the active pairs that ask it.
        inputs: (N, C, H, W), preprocessed for the student.
        samples: data samples of the batch.
    """
    model = teacher.prepare(inputs.device)
    translated, unpadded = teacher.inputs(inputs, samples)
    recorders = [item for view in views for item in view.teacher_recorders]
    with recording(model, recorders) as records:
        run = FrozenRun(model, records, translated, unpadded, teacher.scale, samples)
        run.compute_features(
            run_until(part for view in views for part in view.teacher_parts)
        )
        yield run
