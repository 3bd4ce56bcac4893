"""How well the student matches its teacher, at every validation."""

import copy
import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from mmengine.dist import all_reduce
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner

from ...checks import check_float, check_int, check_optional_int
from ...distillers import Distiller
from ...distillers.interface import unwrap
from ...errors import ConfigError, nearest
from ...evaluation.fidelity import TeacherPredictions
from ...evaluation.fidelity.features import PairFeatures, Rows
from ...evaluation.fidelity.readers import Reader, reader_of
from ...evaluation.fidelity.rois import KeptRoIs, RoIFidelity, roi_fidelity
from ...host_types import HostModule
from ...recorders import Recorder, Records, recording
from ...registry import HOOKS
from ...teachers import Teacher
from ...views import Side


@HOOKS.register_module()
class FidelityHook(Hook):
    """Adds fidelity and calibration to the metrics of every validation.

    Of the host's own predictions, the student's being those of the validation itself:

    - ``fidelity/...``: agreement, kl, ece_student and ece_teacher of pixels, as
      :class:`~kd_plugins.evaluation.fidelity.PixelFidelity` says, or of boxes, where
      recall and precision are added, as
      :class:`~kd_plugins.evaluation.fidelity.BoxFidelity` says;
    - ``fidelity/cka_<pair>``: linear CKA of what each 'layer' pair of this teacher
      compares, without its adapter, the mean of its levels. Pairs inside a RoI head
      have none: both models choose RoIs of their own;
    - ``fidelity/roi_agreement``, ``fidelity/roi_kl``: where both are two-stage
      detectors, of what their RoI heads say of the same RoIs, the teacher's best, as
      :class:`~kd_plugins.evaluation.fidelity.RoIFidelity` says;
    - ``teacher/<metric>``: the teacher's own score by the validation's metrics, where
      all batches are measured.

    A teacher of other classes (``class_map``) is compared over those that are shared,
    and the background of RoIs: probabilities are renormalised over them, pixels, boxes
    and annotations of others left out. A detection's score stays what its model gave.
    There is no ``teacher/<metric>`` then: the metrics are of the student's classes.

    The teacher runs once, as it is, not as a fast copy: what is needed of its
    predictions is kept in memory, for each image 4 K bytes a pixel, 28 bytes a box or
    4 K + 24 a RoI, and 64 C bytes a level of a pair. A validation that changes its
    images has it run again, and a warning says so. The training does not notice.

    Args:
        max_batches: how many batches of a validation (on each process) are measured, at
            most; None for all of them.
        teacher: its name, where there are several; default: the first.
        pixels: how many of an image are compared at most, drawn once from those that
            are not ignored.
        score_thr: lowest score of a detection that is compared.
        rois: how many of an image are compared at most.

    Of a run without a teacher nothing is measured, and the log says so.

    Raises: ConfigError for arguments that cannot be, a model that is no distiller, a
        run without validation, and models whose predictions cannot be compared.
    """

    # Before the hook that logs the metrics.
    priority = 'HIGHEST'

    def __init__(
        self,
        max_batches: int | None = None,
        teacher: str | None = None,
        pixels: int = 1024,
        score_thr: float = 0.3,
        rois: int = 64,
    ) -> None:
        self.max_batches = check_optional_int('max_batches', max_batches)
        self.teacher = teacher
        self.pixels = check_int('pixels', pixels)
        self.rois = check_int('rois', rois)
        self.score_thr = check_float('score_thr', score_thr)
        self._predictions: TeacherPredictions | None = None
        self._features: PairFeatures | None = None
        self._rois: RoIFidelity | None = None
        self._recording = ExitStack()
        self._records = Records()
        self._reader: Reader | None = None
        self._evaluator: Evaluator | None = None
        self._score: dict[str, float] | None = None
        self._warned: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        if runner.val_loop is None:
            raise ConfigError(
                'FidelityHook measures at validations, and this run has none. Set '
                'val_dataloader, val_cfg and val_evaluator, or remove the hook from '
                'custom_hooks.'
            )
        self._prepare(runner)

    def before_val(self, runner: Runner) -> None:
        self._prepare(runner)

    def _prepare(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        if not isinstance(model, Distiller):
            raise ConfigError(
                'FidelityHook needs a model of type kd_plugins.Distiller, got '
                f'{type(model).__name__}. Remove the hook from custom_hooks.'
            )
        if self._predictions is not None:
            return
        if not model.teachers:
            self._warn(
                runner, 'nothing is measured: this run has no teacher to compare with.'
            )
            return
        name = next(iter(model.teachers)) if self.teacher is None else self.teacher
        if name not in model.teachers:
            raise ConfigError(
                f"FidelityHook: teacher: there is no '{name}'. "
                f'{nearest(name, model.teachers)}'
            )
        teacher = model.teachers[name]
        _check_predicts_on_images(model, teacher)
        metainfo = getattr(runner.val_dataloader.dataset, 'metainfo', None) or {}
        if metainfo.get('classes') is not None:
            teacher.set_class_names([str(each) for each in metainfo['classes']])
        self._predictions = TeacherPredictions(teacher)
        self._features = PairFeatures(model.pairs, name)

    def before_val_epoch(self, runner: Runner) -> None:
        self._reader = None
        predictions = self._predictions
        if predictions is None:
            return
        assert self._features is not None
        self._features.moments.clear()
        student = _student(runner)
        teacher = predictions.teacher
        self._rois = roi_fidelity(
            student, teacher.model, teacher.class_map, self.rois, teacher.scale
        )
        cfg = runner.cfg.get('val_evaluator')
        has_score = (
            self._score is not None
            or self.max_batches is not None
            or teacher.class_map is not None
        )
        self._evaluator = None
        if not has_score and cfg is not None and not isinstance(cfg, Evaluator):
            self._evaluator = runner.build_evaluator(copy.deepcopy(cfg))
            metainfo = getattr(runner.val_dataloader.dataset, 'metainfo', None)
            self._evaluator.dataset_meta = metainfo

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        if self._measured(batch_idx):
            student = _student(runner)
            self._records = self._recording.enter_context(
                recording(student, self._recorders('student'))
            )

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        if not self._measured(batch_idx) or not outputs:
            return
        self._recording.close()
        records, self._records = self._records, Records()
        student = _student(runner)
        predictions, features = self._predictions, self._features
        assert predictions is not None and features is not None
        if self._reader is None:
            self._reader = reader_of(
                outputs[0],
                student,
                predictions.teacher.model,
                predictions.teacher.class_map,
                self.pixels,
                self.score_thr,
            )
        reader, rois = self._reader, self._rois

        def run_teacher() -> tuple[list[Any], Rows, KeptRoIs | None]:
            model = predictions.teacher.model
            with recording(model, self._recorders('teacher')) as recorded:
                device = next(student.parameters()).device
                samples = predictions.predict(data_batch, device)
            if self._evaluator is not None:
                self._evaluator.process(samples, data_batch)
            pairs = zip(samples, outputs, strict=True)
            return (
                [
                    reader.read(teacher_sample, student_sample, 'teacher')
                    for teacher_sample, student_sample in pairs
                ],
                features.read(recorded, samples, 'teacher'),
                None if rois is None else rois.read(recorded),
            )

        read, rows, proposed = predictions.get(batch_idx, data_batch, run_teacher)
        for sample, teacher_rows in zip(outputs, read, strict=True):
            student_rows = reader.read(sample, sample, 'student')
            reader.add(student_rows, teacher_rows, sample)
        features.add(features.read(records, outputs, 'student'), rows)
        if rois is not None:
            rois.add(student, records, proposed)

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        self._recording.close()
        reader, predictions, features = self._reader, self._predictions, self._features
        rois = self._rois
        if reader is None or metrics is None:
            return
        assert predictions is not None and features is not None
        if self._evaluator is not None:
            runner.logger.info("The teacher's own score on the validation images:")
            score = self._evaluator.evaluate(len(runner.val_dataloader.dataset))
            self._score = {f'teacher/{key}': value for key, value in score.items()}
            self._evaluator = None
        if predictions.repeated:
            self._warn(
                runner,
                'the validation images change from one validation to the next, so the '
                'teacher runs at each of them. Remove what is random from '
                'val_dataloader.dataset.pipeline.',
            )
        for message in features.left_out.values():
            self._warn(runner, message)
        for tensor in (*reader.fidelity.tensors(), *features.tensors()):
            all_reduce(tensor)
        measures = reader.fidelity.values() | features.values()
        if rois is not None:
            all_reduce(rois.sums)
            measures |= rois.values()
        values = {f'fidelity/{name}': value for name, value in measures.items()}
        metrics.update(
            {name: value for name, value in values.items() if math.isfinite(value)}
        )
        metrics.update(self._score or {})

    def after_run(self, runner: Runner) -> None:
        self._recording.close()

    def _recorders(self, side: Side) -> list[Recorder[Any]]:
        """What to attach to the student or the teacher while it predicts."""
        assert self._features is not None
        rois = [] if self._rois is None else self._rois.recorders()
        return [*self._features.recorders(side), *rois]

    def _measured(self, batch_idx: int) -> bool:
        if self._predictions is None:
            return False
        return self.max_batches is None or batch_idx < self.max_batches

    def _warn(self, runner: Runner, message: str) -> None:
        """Once each."""
        if message not in self._warned:
            self._warned.add(message)
            runner.logger.warning(f'FidelityHook: {message}')


def _student(runner: Runner) -> HostModule:
    model = unwrap(runner.model)
    assert isinstance(model, Distiller)
    student: HostModule = model.student
    return student


def _check_predicts_on_images(model: Distiller, teacher: Teacher) -> None:
    """Refuse trackers, which predict on clips."""
    tracked = model.inner_student is not model.student
    if tracked or teacher.inner_path == 'detector':
        raise ConfigError(
            'FidelityHook compares predictions on single images, and a tracker '
            'predicts on clips. Remove the hook from custom_hooks.'
        )
