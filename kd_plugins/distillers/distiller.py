"""The model wrapper: a student that trains under its teachers' guidance."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, cast

from mmengine.hooks.hook import DATA_BATCH
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from ..build import build_together
from ..checkpoints import check_whole
from ..errors import ConfigError, located, nearest
from ..host_types import HostModule, Samples
from ..inner_models import check_trains_on_images, inner_model, inner_path
from ..random_stream import RandomStream
from ..recorders import LayerRecorder, recording
from ..registry import MODELS
from ..schedules import Clock
from ..teachers import Teachers, build_teachers, model_config
from ..teachers.checkpoints import is_distiller
from ..views import FrozenRun, ModelRun
from ..views.run import frozen as run_frozen
from .auto import Choice, choose, is_auto
from .auxiliary import STUDENT, step_auxiliary, student_wrapper
from .cached_classes import check_cached_classes
from .fast_check import decide, fast_of, is_due
from .health import Health
from .inheritance import (
    check_inherited,
    copy_matching,
    includes_class_head,
    read_parts,
)
from .pair import Pair
from .pair_config import build_pairs
from .step import Matched, Step, average_counts
from .summary import summary_table
from .task_losses import TaskLossWeights
from .teacher_run import teacher_run

_SEED = 2017
_STUDENT = 'student.'


@MODELS.register_module()
class Distiller(BaseModel):
    """A student of the host's, whose losses gain those of the pairs.

    Everywhere but in ``loss`` it is the student: prediction, and every attribute that
    is not its own. Its checkpoint holds ``student.*``, ``adapters.*`` and ``losses.*``;
    the teachers are in none.

    Args:
        student: a model dict, or ``dict(cfg='mmdet::...')``, whose other keys are
            merged into that model; or a model that is built.
        pairs: what is compared, by name; None removes an inherited pair. 'auto', or
            ``dict(type='auto', ...)`` with changes by name, chooses by what both models
            are, see :mod:`kd_plugins.distillers.auto.table`.
        teacher: ``dict(cfg=..., checkpoint=...)``, or one of a kind that
            :mod:`kd_plugins.teachers` knows (``type='Ensemble'``, 'Route' or
            'Privileged'), or several by name; or teachers that are built. None where no
            loss of a pair reads one.
        task_loss_weights: factors on the student's own losses, by key or glob.
        init_from_teacher: parts of the student, such as 'neck', that start from the
            teacher's weights, tensor by tensor where names and shapes are equal; None
            for none. A checkpoint that a run loads (``load_from``, or to resume) comes
            later and overwrites them.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)``, of a plain student or of
            a distiller; excludes ``init_from_teacher``.
        data_preprocessor: the student's, where its own configuration has none: the
            host's runner hands over that of the whole configuration.

    Raises: ConfigError for a configuration that cannot work, all faults of the pairs in
        one message.
    """

    def __init__(
        self,
        student: dict[str, Any] | HostModule,
        *,
        pairs: dict[str, Any] | str,
        teacher: dict[str, Any] | Teachers | None = None,
        task_loss_weights: dict[str, Any] | None = None,
        init_from_teacher: str | Sequence[str] | None = None,
        init_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        self._check_init_cfg(init_cfg)
        self._inherited = read_parts(init_from_teacher)
        if self._inherited and init_cfg is not None:
            raise ConfigError(
                'model.init_cfg and model.init_from_teacher exclude each other: a '
                'checkpoint holds all weights of the student. Remove one.'
            )
        # The student first, in the default random stream: it draws what it would draw
        # in the host's own run. Everything of ours draws from a stream of its own.
        with located('model.student'):
            built = build_student(student, data_preprocessor)
        super().__init__(built.data_preprocessor, init_cfg)
        # The student's alone: as an attribute that is not its own, it is found there.
        del self.data_preprocessor
        self.student = built
        self._inner_path = inner_path(built)
        self.random_stream = RandomStream(_SEED)
        self.choice: Choice | None = None
        with self.random_stream.active():
            self.teachers = Teachers([])
            if isinstance(teacher, Teachers):
                self.teachers = teacher
            elif teacher is not None:
                with located('model.teacher'):
                    self.teachers = build_teachers(teacher, built.data_preprocessor)
            self.pairs: list[Pair]
            self.pairs, self._task_loss_weights, _ = build_together(
                lambda: self._build_pairs(pairs),
                lambda: TaskLossWeights(task_loss_weights),
                lambda: check_inherited(
                    self._inherited, inner_model(built), self.teachers
                ),
            )
        check_cached_classes(self.pairs, self.teachers)
        self.adapters = nn.ModuleDict(
            {pair.name: pair.adapters for pair in self.pairs if pair.adapters}
        )
        self.losses = nn.ModuleDict({pair.name: pair.loss for pair in self.pairs})
        for name, entry in self.teachers.items():
            recorders = [
                recorder
                for pair in self.pairs_of(name)
                for recorder in pair.views[name].teacher_recorders
                if isinstance(recorder, LayerRecorder)
            ]
            entry.fast.require(self.teacher_parts(name), recorders)
        self._health = Health()
        self.clock: Clock | None = None

    def _build_pairs(self, cfg: dict[str, Any] | str) -> list[Pair]:
        if is_auto(cfg):
            self.choice = choose(cfg, self.student, self.teachers)
            cfg = self.choice.pairs
        return build_pairs(cfg, self.student, self.teachers)

    @staticmethod
    def _check_init_cfg(init_cfg: dict[str, Any] | None) -> None:
        if init_cfg is not None and not (
            isinstance(init_cfg, dict)
            and init_cfg.get('type') == 'Pretrained'
            and set(init_cfg) == {'type', 'checkpoint'}
        ):
            raise ConfigError(
                "model.init_cfg must be dict(type='Pretrained', checkpoint='...'), got "
                f'{init_cfg}. Other initialisation belongs into model.student.'
            )

    @property
    def inner_student(self) -> HostModule:
        """What pairs compare: the student, or the detector inside a tracker."""
        return cast(HostModule, self.student.get_submodule(self._inner_path))

    # What makes it the student, everywhere but in `loss`.

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            student = self.__dict__.get('_modules', {}).get('student')
            if student is None or name.startswith('__'):
                raise
            return getattr(student, name)

    def forward(
        self, inputs: Any, data_samples: Any = None, mode: str = 'tensor'
    ) -> Any:
        """The student's forward, with the pairs' losses added in ``mode='loss'``."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's own way of adding up its losses."""
        parsed: tuple[Tensor, dict[str, Tensor]] = self.student.parse_losses(losses)
        return parsed

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> 'Distiller':
        super()._apply(fn, recurse)
        device = next(self.student.parameters()).device
        for teacher in self.teachers.values():
            if teacher.loaded:  # else it moves when it is
                teacher.to(device)  # the device only: its data type stays
        return self

    # Initial weights and checkpoints.

    def init_weights(self) -> None:
        """Initialise the student as the host does, then inherit from the teacher."""
        self.student.init_weights()
        if self.init_cfg:
            with located('model.init_cfg.checkpoint'):
                check_whole(self.init_cfg['checkpoint'])
            load_checkpoint(self, self.init_cfg['checkpoint'], map_location='cpu')
        if self._inherited:
            with self.random_stream.active():
                self._inherit()
        self._is_init = True

    def _inherit(self) -> None:
        teacher = next(iter(self.teachers.values()))
        source = teacher.prepare(next(self.student.parameters()).device)
        copied = copy_matching(source, self.inner_student, self._inherited)
        print_log(f'Inherited from the teacher: {", ".join(copied)}', 'current')

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        keys = [key for key in state_dict if key.startswith(prefix)]
        if keys and not is_distiller({key.removeprefix(prefix): None for key in keys}):
            accept_student(self, state_dict, prefix, keys, _STUDENT)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @staticmethod
    def student_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's part of a distiller's state, under the student's own names."""
        return {
            key.removeprefix(_STUDENT): value
            for key, value in state_dict.items()
            if key.startswith(_STUDENT)
        }

    # Training.

    def train_step(
        self, data: DATA_BATCH, optim_wrapper: OptimWrapper | OptimWrapperDict
    ) -> dict[str, Tensor]:
        """One step of the student, then of what its losses train by themselves.

        Args:
            data: a batch of the host's loader.
            optim_wrapper: of the student, or an ``OptimWrapperDict`` with its entry
                'student' and one for each of ``auxiliary_optimizers``.

        Returns: what to log.
        """
        wrapper = student_wrapper(self.losses, optim_wrapper)
        logs: dict[str, Tensor] = super().train_step(data, wrapper)
        if wrapper is not optim_wrapper:
            logs = {**logs, **self.step_auxiliary(optim_wrapper)}
        return logs

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Steps of what the losses train by themselves, after the student's.

        Args:
            optim_wrapper: with an entry for each of them.

        Returns: what to log.
        """
        with self.random_stream.active():
            return step_auxiliary(self.losses, optim_wrapper)

    @property
    def learners(self) -> dict[str, 'Distiller']:
        """What learns, by name: this one alone."""
        return {STUDENT: self}

    def set_clock(self, clock: Clock) -> None:
        """Tell how far training is: loss weights may follow it."""
        self.clock = clock

    def set_class_names(self, names: Sequence[str]) -> None:
        """Tell the student's class names: a teacher of others must not judge them.

        Compared with those in a teacher's checkpoint, once it is loaded, where a pair
        matches class by class, or a head is inherited.
        """
        teachers = {
            name
            for pair in self.pairs
            for name, view in pair.views.items()
            if view.requires_same_classes and name in self.teachers
        }
        if includes_class_head(self._inherited):
            teachers |= self.teachers.keys()
        for name in teachers:
            self.teachers[name].set_class_names(names)

    def pairs_of(self, teacher: str) -> list[Pair]:
        """Pairs that ask this teacher."""
        return [pair for pair in self.pairs if teacher in pair.views]

    def teacher_parts(self, teacher: str) -> list[str]:
        """Parts of a teacher that run for its pairs, in the order of its model."""
        pairs = self.pairs_of(teacher)
        parts = {part for pair in pairs for part in pair.views[teacher].teacher_parts}
        children = self.teachers[teacher].model.named_children()
        return [
            name
            for name, _ in children
            if pairs and (name == 'backbone' or name in parts)
        ]

    def fast_state_dict(self) -> dict[str, Any]:
        """Which teachers run as a fast copy, as far as that is decided."""
        device = next(self.student.parameters()).device
        states = {
            name: teacher.fast.state_dict(device)
            for name, teacher in self.teachers.items()
        }
        return {name: state for name, state in states.items() if state is not None}

    def load_fast_state_dict(self, states: Mapping[str, Any]) -> None:
        """Decide as the run that is continued; teachers of other names stay."""
        for name, state in states.items():
            if name in self.teachers:
                self.teachers[name].fast.load_state_dict(state)

    def summary(self) -> str:
        """What is compared with what, which part of each teacher runs, and why so."""
        parts = {name: self.teacher_parts(name) for name in self.teachers}
        device = next(self.student.parameters()).device
        table = summary_table(self.pairs, self.teachers, parts, self._inherited, device)
        return table if self.choice is None else f'{table}\n{self.choice.summary()}'

    def loss(self, inputs: Tensor, data_samples: Samples) -> dict[str, Any]:
        """The student's losses, weighted, and ``loss_kd_<pair>`` of every pair.

        Args:
            inputs: (N, C, H, W), preprocessed for the student.
            data_samples: of the batch.
        """
        with self.step(inputs, data_samples) as step:
            task_losses = self.task_losses(step)
            with self.drawing(step):
                losses = self.pair_losses(step, self.match(step))
            return merge(task_losses, *losses.values())

    @contextmanager
    def step(
        self,
        inputs: Tensor,
        samples: Samples,
        *,
        pairs: Collection[str] | None = None,
        frozen: bool = False,
        exact: bool = False,
    ) -> Iterator[Step]:
        """One step: the needed part of the needed teachers has run, recorders are open.

        Needed by the pairs that are active: those that have a weight now and, to see
        whether they are alive, all pairs once. Within, :meth:`task_losses` runs the
        student and :meth:`match` compares.

        Args:
            inputs: (N, C, H, W), preprocessed for the student.
            samples: data samples of the batch.
            pairs: names of those that are active instead.
            frozen: run the student as it predicts, without gradient, rather than for
                its losses: ``step.student`` then holds its features.
            exact: run the teachers as they are, even those that have a fast copy.
        """
        names = [pair.name for pair in self.pairs]
        for name in () if pairs is None else pairs:
            if name not in names:
                raise ConfigError(f"there is no pair '{name}'. {nearest(name, names)}")
        if pairs is None or not frozen:  # else no weight is asked, nor the time
            for pair in self.pairs:
                pair.set_weight(self.clock)
            for teacher in self.teachers.values():
                teacher.set_clock(self.clock)
        active = [
            pair
            for pair in self.pairs
            if (pair.is_active() if pairs is None else pair.name in pairs)
        ]
        views = [view for pair in active for view in pair.views.values()]
        recorders = [item for view in views for item in view.student_recorders]
        with ExitStack() as stack:
            if frozen:
                stack.enter_context(run_frozen(self))
            with self.random_stream.active() if active else nullcontext():
                teachers = {
                    name: stack.enter_context(
                        teacher_run(
                            self.teachers[name],
                            [pair.views[name] for pair in active if name in pair.views],
                            inputs,
                            samples,
                            cached=not frozen,
                            fast=None
                            if exact
                            else fast_of(self.teachers[name], inputs.device),
                        )
                    )
                    for name in self.teachers
                    if any(name in pair.views for pair in active)
                }
            model = self.inner_student
            open_recorders = stack.enter_context(ExitStack())
            records = open_recorders.enter_context(recording(model, recorders))
            student = ModelRun(model, records, len(inputs))
            if frozen:
                student = FrozenRun(model, records, inputs, samples=samples)
                student.compute_features('heads')
            yield Step(
                inputs,
                samples,
                self.clock,
                frozenset(pair.name for pair in active),
                student,
                teachers,
                open_recorders,
                exact,
            )

    def task_losses(self, step: Step) -> dict[str, Any]:
        """The student's one forward: its own losses, weighted."""
        with step.recording:  # no longer than that: a view may run a part of it again
            losses = self.student(step.inputs, step.samples, mode='loss')
        weighted: dict[str, Any] = self._task_loss_weights.apply(losses, step.clock)
        return weighted

    def drawing(self, step: Step) -> AbstractContextManager[None]:
        """A block in which the pairs of a step draw, from a stream of their own."""
        # Without an active pair nothing draws, and swapping states takes time.
        return self.random_stream.active() if step.active else nullcontext()

    def pair_losses(self, step: Step, matched: Matched) -> dict[str, dict[str, Tensor]]:
        """Losses of all pairs by log key, by the pair's key.

        Args:
            step: after the student's forward.
            matched: as :meth:`match` gives them.
        """
        losses = {
            pair.key: pair.losses(step, matched.get(pair.name)) for pair in self.pairs
        }
        self._health.check_losses(
            {pair.key: losses[pair.key] for pair in self.pairs if pair.check}
        )
        return losses

    def match(self, step: Step) -> Matched:
        """Matched tensors of the active pairs, after the student's forward.

        Their counts are averaged over the ranks, in one message. The teachers' tensors
        are checked for NaN and, where it trains, the student's.
        """
        matched = {
            pair.name: pair.match(step)
            for pair in self.pairs
            if pair.name in step.active
        }
        self._health.check_matched(self.pairs, matched)
        numbers = {pair.name: len(pair.tensors) for pair in self.pairs}
        average_counts(matched, numbers, step.inputs.device)
        for name in step.teachers:
            teacher, pairs = self.teachers[name], self.pairs_of(name)
            if is_due(teacher, pairs, step):
                decide(teacher, pairs, step, matched)
        return matched


def build_student(
    student: dict[str, Any] | HostModule,
    data_preprocessor: dict[str, Any] | None = None,
) -> HostModule:
    """A model that is to be trained.

    Args:
        student: as of :class:`Distiller`.
        data_preprocessor: where its own configuration has none.

    Raises: ConfigError, below its key.
    """
    if isinstance(student, nn.Module):
        built: HostModule = student
    else:
        cfg = model_config(student)
        if data_preprocessor is not None:
            cfg.setdefault('data_preprocessor', data_preprocessor)
        built = MODELS.build(cfg)
    check_trains_on_images(built)
    return built


def accept_student(
    model: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    keys: Sequence[str],
    place: str,
) -> None:
    """Rename a plain student's entries; what else there is keeps its values.

    Args:
        model: that is to be loaded, and holds the student.
        state_dict: changed in place.
        prefix: of the model in it.
        keys: of the student's entries.
        place: where in the model the student lies, such as 'student.'.
    """
    for key in keys:
        state_dict[prefix + place + key.removeprefix(prefix)] = state_dict.pop(key)
    for key, value in model.state_dict(prefix=prefix).items():
        if not key.removeprefix(prefix).startswith(place):
            state_dict[key] = value
    # By these, modules know the version of what they load.
    versions = getattr(state_dict, '_metadata', None) or {}
    root = prefix + place.removesuffix('.')
    for name, version in list(versions.items()):
        if name == prefix.removesuffix('.'):
            versions.setdefault(root, version)
        elif name.startswith(prefix):
            versions.setdefault(f'{root}.{name.removeprefix(prefix)}', version)


def merge(task_losses: Mapping[str, Any], *added: Mapping[str, Any]) -> dict[str, Any]:
    """The student's losses and those of the pairs.

    Raises: ConfigError for a key of both.
    """
    merged = dict(task_losses)
    for losses in added:
        for key in losses:
            if key in task_losses:
                raise ConfigError(
                    f"the student has a loss '{key}' of its own. Rename the pair that "
                    'would be logged so.',
                    key='model.pairs',
                )
        merged.update(losses)
    return merged
