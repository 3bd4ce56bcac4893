"""Student and teachers on the same images: scores, agreement, calibration."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from mmengine.evaluator import Evaluator

from ..distillers import Distiller
from ..errors import ConfigError, DistillationError
from ..host_types import HostModule
from ..random_stream import random_state_kept
from ..teachers import Teacher
from .fidelity import TeacherPredictions
from .fidelity.readers import Reader, reader_of

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class PairedEvaluation:
    """What both models score on the same images, and how they compare.

    Attributes:
        images: how many were looked at.
        student: metrics of the student, as the evaluator names them.
        teachers: those of each teacher, by its name. One of other classes than the data
            has none, nor one of other images, which this data does not hold.
        fidelity: agreement, kl, ece_student, ece_teacher and more, by teacher; see
            :class:`~kd_plugins.evaluation.fidelity.PixelFidelity` and
            :class:`~kd_plugins.evaluation.fidelity.BoxFidelity`.
        without: why a teacher has no fidelity, by its name.
    """

    images: int
    student: Metrics
    teachers: Mapping[str, Metrics]
    fidelity: Mapping[str, Metrics]
    without: Mapping[str, str]


def evaluate_paired(
    distiller: Distiller,
    loader: Iterable[dict[str, Any]],
    make_evaluator: Callable[[], Evaluator],
    *,
    pixels: int = 1024,
    score_thr: float = 0.3,
) -> PairedEvaluation:
    """Run student and teachers over a loader, each with its own preprocessing.

    Their predictions are those of the host's validation. The weights, the mode and all
    random states stay.

    Args:
        distiller: with the student's weights, on its device.
        loader: batches of the host's.
        make_evaluator: gives a new evaluator, with its ``dataset_meta``.
        pixels: of an image that are compared at most, for segmentation.
        score_thr: lowest score of a detection that is compared.

    Raises: CheckpointError for a teacher whose weights do not fit.
    """
    student = _Scored(make_evaluator())
    others = {
        name: _Compared(teacher, make_evaluator(), pixels, score_thr)
        for name, teacher in distiller.teachers.items()
    }
    device = next(distiller.student.parameters()).device
    training = distiller.training
    distiller.eval()
    try:
        with random_state_kept(), torch.no_grad():
            for batch in loader:
                outputs = distiller.val_step(batch)
                student.add(outputs, batch)
                for other in others.values():
                    other.add(distiller.student, outputs, batch, device)
    finally:
        distiller.train(training)
    return PairedEvaluation(
        len(student.images),
        student.metrics(),
        {
            name: other.scored.metrics()
            for name, other in others.items()
            if other.teacher.class_map is None and other.scored.images
        },
        {
            name: other.fidelity
            for name, other in others.items()
            if other.reader is not None
        },
        {name: other.without for name, other in others.items() if other.without},
    )


@dataclass
class _Scored:
    """An evaluator, and which images it saw."""

    evaluator: Evaluator
    images: list[Any] = field(default_factory=list)

    def add(self, samples: Iterable[Any], batch: Mapping[str, Any]) -> None:
        samples = list(samples)
        self.images += [sample.metainfo.get('img_id') for sample in samples]
        self.evaluator.process(data_samples=samples, data_batch=batch)

    def metrics(self) -> dict[str, float]:
        if not self.images:
            return {}
        for metric in self.evaluator.metrics:
            if hasattr(metric, 'img_ids') and None not in self.images:
                # The COCO metrics count what is missed on all images of their file.
                metric.img_ids = sorted(set(self.images))
        found = self.evaluator.evaluate(len(self.images))
        return {
            key: float(value)
            for key, value in found.items()
            if isinstance(value, Real) and math.isfinite(value)
        }


class _Compared:
    """A teacher: its score, and how the student compares with it."""

    def __init__(
        self, teacher: Teacher, evaluator: Evaluator, pixels: int, score_thr: float
    ) -> None:
        self.teacher = teacher
        self.scored = _Scored(evaluator)
        self.reader: Reader | None = None
        self.without = ''
        self._predictions = TeacherPredictions(teacher)
        self._options = pixels, score_thr

    @property
    def fidelity(self) -> dict[str, float]:
        assert self.reader is not None
        values = self.reader.fidelity.values()
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def add(
        self,
        student: HostModule,
        outputs: list[Any],
        batch: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        try:
            samples = self._predictions.predict(batch, device)
        except ConfigError as error:
            if self.teacher.same_images:
                raise
            self.without = str(error)  # the images of this data hold none of its own
            return
        if self.teacher.class_map is None:
            self.scored.add(samples, batch)
        if self.without:
            return
        try:
            self._compare(student, outputs, samples)
        except (ConfigError, DistillationError) as error:
            self.reader = None
            self.without = str(error).partition(' Remove the hook')[0]

    def _compare(
        self, student: HostModule, outputs: list[Any], samples: list[Any]
    ) -> None:
        if self.reader is None:
            model, classes = self.teacher.model, self.teacher.class_map
            self.reader = reader_of(outputs[0], student, model, classes, *self._options)
        for output, sample in zip(outputs, samples, strict=True):
            self.reader.add(
                self.reader.read(output, output, 'student'),
                self.reader.read(sample, output, 'teacher'),
                output,
            )
