"""A distillation that did not help, and what can be measured of it."""

import functools
import statistics
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log

from ...checkpoints import read_checkpoint
from ...distillers import Distiller
from ...distillers.loading import load_any
from ...engine.opening import prepare_data
from ...evaluation.gradients import RunVerdict, read_shares, run_verdict
from ...evaluation.paired import PairedEvaluation, evaluate_paired
from ...registry import MODELS
from ...run_logs import scalar_lines
from ...teachers import model_config
from ..stored_config import stored_config
from .data import Images, training_images, validation_images
from .finding import NotCheckedError
from .score import Kind, kind_of
from .teachers import TeacherFacts, teachers_of
from .trial import Trial, run_trial

_T = TypeVar('_T')
_LENGTH = 400  # of a reason


def once(function: Callable[['Case'], _T]) -> property:
    """A property that is computed once, its failure too.

    Whatever goes wrong is raised as NotCheckedError: what does not need it goes on.
    """

    @functools.wraps(function)
    def compute(case: 'Case') -> _T:
        kept = case.kept
        if function.__name__ not in kept:
            try:
                kept[function.__name__] = function(case)
            except Exception as error:  # of the hosts, of files, of models
                kept[function.__name__] = NotCheckedError(reason_of(error))
        value = kept[function.__name__]
        if isinstance(value, NotCheckedError):
            raise value
        result: _T = value
        return result

    return property(compute)


def reason_of(error: Exception) -> str:
    """An error in one line."""
    text = ' '.join(str(error).split()) or type(error).__name__
    if not isinstance(error, (NotCheckedError, ValueError, RuntimeError)):
        text = f'{type(error).__name__}: {text}'
    return text if len(text) <= _LENGTH else f'{text[:_LENGTH]} ...'


@dataclass(frozen=True)
class RunLog:
    """What a run logged.

    Attributes:
        iterations: the last one.
        seconds: of an iteration, the median.
        validations: metrics of each, by iteration or epoch.
    """

    iterations: int
    seconds: float | None
    validations: tuple[dict[str, float], ...]


class Case:
    """A distillation, its run and its checkpoint; each fact is looked up once.

    A fact that cannot be had raises NotCheckedError.

    Args:
        cfg: of the distillation.
        checkpoint: of the run, or of the student alone.
        run: its work directory, which is only read; None: there is none.
        folder: for what the host writes.
        images: to look at, at most, of each data set.
        batches: for the shares of gradients, where they are measured now.
    """

    def __init__(
        self,
        cfg: Config,
        checkpoint: str,
        run: Path | None,
        folder: Path,
        *,
        images: int = 300,
        batches: int = 4,
    ) -> None:
        self.cfg = cfg
        self.checkpoint = checkpoint
        self.run = run
        self.folder = folder
        self.images = images
        self.batches = batches
        self.kept: dict[str, Any] = {}

    @once
    def teachers(self) -> tuple[TeacherFacts, ...]:
        """What files say about each teacher."""
        facts = teachers_of(self.cfg)
        if not facts:
            raise NotCheckedError('there is no teacher (model.teacher=None)')
        return facts

    @once
    def student_model(self) -> dict[str, Any]:
        """Configuration of the student's model."""
        model: dict[str, Any] = model_config(self.cfg.model.student)
        if self.cfg.get('data_preprocessor'):
            model.setdefault('data_preprocessor', self.cfg.data_preprocessor)
        return model

    @once
    def stored_config(self) -> Config:
        """The config of the distillation that the checkpoint was trained with."""
        stored = stored_config(read_checkpoint(self.checkpoint), self.checkpoint)
        if 'pairs' not in (stored.get('model') or {}):
            raise NotCheckedError(
                f"'{self.checkpoint}' is of the student alone, and holds no more than "
                'its config'
            )
        return stored

    @once
    def distiller(self) -> Distiller:
        """The distiller with the weights of the checkpoint, on its device."""
        model = self.cfg.model.copy()
        if self.cfg.get('data_preprocessor'):
            model.setdefault('data_preprocessor', self.cfg.data_preprocessor)
        built: Distiller = MODELS.build(model)
        load_any(built, self.checkpoint, '--checkpoint')
        built.to(get_device())
        return built

    @once
    def validation_images(self) -> Images:
        """The images of the validation set that are looked at."""
        prepare_data(self.cfg)
        return validation_images(self.cfg, self.images, self.folder)

    @once
    def training_images(self) -> Images:
        """Those of the training set, without augmentation."""
        prepare_data(self.cfg)
        return training_images(self.cfg, self.images, self.folder)

    @once
    def validation(self) -> PairedEvaluation:
        """Student and teachers on validation images."""
        return self._evaluate(self.validation_images, 'validation')

    @once
    def training(self) -> PairedEvaluation:
        """Student and teachers on training images."""
        return self._evaluate(self.training_images, 'training')

    @once
    def kind(self) -> Kind:
        """The metric that tells how good models are."""
        return kind_of(self.validation.student, *self.validation.teachers.values())

    @once
    def trial(self) -> Trial:
        """Shares of gradients and the price of a step, measured now."""
        print_log('Gradients and the price of a step ...')
        return run_trial(self.cfg, self.checkpoint, self.folder, self.batches)

    @once
    def run_verdict(self) -> RunVerdict | None:
        """Shares of gradients that the run measured, summed up; None without any."""
        if self.run is None:
            raise NotCheckedError('there is no run folder')
        return run_verdict(read_shares(self.run))

    @once
    def log(self) -> RunLog:
        """What the run logged."""
        if self.run is None:
            raise NotCheckedError('there is no run folder')
        windows: dict[int, dict[str, Any]] = {}
        validations = []
        for line in scalar_lines(self.run):
            if 'loss' in line:
                windows[int(line['step'])] = line
            else:
                validations.append(line)
        if not windows:
            raise NotCheckedError(f"'{self.run}' holds no log of a training")
        times = [line['time'] for line in windows.values() if 'time' in line]
        return RunLog(
            max(windows),
            statistics.median(times) if times else None,
            tuple(validations),
        )

    def _evaluate(self, images: Images, which: str) -> PairedEvaluation:
        print_log(f'Student and teacher on {images.number} {which} images ...')
        with redirect_stdout(StringIO()):  # COCO's tables
            return evaluate_paired(self.distiller, images.loader, images.make_evaluator)
