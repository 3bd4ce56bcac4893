"""A teacher's part of a step: as far as the active pairs need it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor

from ..host_types import Samples
from ..recorders import recording
from ..teachers import Teacher
from ..teachers.cache import arithmetic_of
from ..teachers.fast_copy import FastModel
from ..teachers.peer import PeerTeacher
from ..views import BoundView, FrozenRun, run_until
from ..views.cached_run import CachedRun
from ..views.peer_run import peer_run


@contextmanager
def teacher_run(
    teacher: Teacher,
    views: Sequence[BoundView],
    inputs: Tensor,
    samples: Samples,
    cached: bool = True,
    fast: FastModel | None = None,
) -> Iterator[FrozenRun]:
    """Features of one teacher; within, more of it may be run.

    Of a peer there are none before it has run for its own losses, within the block.

    Args:
        teacher: which one; its weights are loaded the first time.
        views: of the active pairs that ask it.
        inputs: (N, C, H, W), preprocessed for the student.
        samples: data samples of the batch.
        cached: whether its cache, where it has one, is asked first: of training data.
        fast: its fast copy, where that is to run.
    """
    model = teacher.prepare(inputs.device)
    translated, unpadded = teacher.inputs(inputs, samples)
    if fast is not None:
        translated = fast.inputs(translated)
    recorders = [item for view in views for item in view.teacher_recorders]
    if isinstance(teacher, PeerTeacher):
        with peer_run(model, recorders, translated, samples) as peer:
            yield peer
        return
    recorded = model if fast is None else fast.model
    with recording(recorded, recorders) as records, ExitStack() as stack:
        given = (model, records, translated, unpadded, teacher.scale, samples)
        if teacher.cache is not None and cached:
            arithmetic = arithmetic_of(model)
            batch = teacher.cache.batch(translated, samples, arithmetic)
            run: FrozenRun = CachedRun(*given, batch=stack.enter_context(batch))
        else:
            run = FrozenRun(*given, fast=fast)
        run.compute_features(
            run_until(part for view in views for part in view.teacher_parts)
        )
        yield run
