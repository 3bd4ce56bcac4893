"""The model wrapper: a student that trains under its teachers' guidance."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapperDict
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from ..build import build_together
from ..errors import ConfigError, located
from ..random_stream import RandomStream
from ..registry import MODELS
from ..schedules import Clock
from ..teachers import build_teachers, model_config
from ..teachers.checkpoints import is_distiller
from ..views import attached
from .auxiliary import step_auxiliary, student_wrapper
from .guidance import Guidance, with_added
from .inheritance import check_inherited, copy_matching, includes_class_head
from .pair_config import build_pairs
from .summary import summary_table
from .task_losses import TaskLossWeights

_SEED = 2017
_STUDENT = 'student.'
_OURS = ('adapters.', 'losses.')


@MODELS.register_module()
class Distiller(BaseModel):
    """A student of the host's, whose losses gain those of the pairs.

    Everywhere but in ``loss`` it is the student: prediction, and every attribute that
    is not its own. Its checkpoint holds ``student.*``, ``adapters.*`` and ``losses.*``;
    the teachers are in none.

    Args:
        student: a model dict, or ``dict(cfg='mmdet::...')``, whose other keys are
            merged into that model.
        teacher: ``dict(cfg=..., checkpoint=...)``, or several by name.
        pairs: what is compared, by name; None removes an inherited pair.
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
        student: dict[str, Any],
        teacher: dict[str, Any],
        pairs: dict[str, dict[str, Any] | None],
        task_loss_weights: dict[str, Any] | None = None,
        init_from_teacher: str | Sequence[str] | None = None,
        init_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        self._check_init_cfg(init_cfg)
        if isinstance(init_from_teacher, str):
            init_from_teacher = (init_from_teacher,)
        self._inherited = tuple(init_from_teacher or ())
        if self._inherited and init_cfg is not None:
            raise ConfigError(
                'model.init_cfg and model.init_from_teacher exclude each other: a '
                'checkpoint holds all weights of the student. Remove one.'
            )
        with located('model.student'):
            student_cfg = model_config(student)
        if data_preprocessor is not None:
            student_cfg.setdefault('data_preprocessor', data_preprocessor)
        # The student first, in the default random stream: it draws what it would draw
        # in the host's own run. Everything of ours draws from a stream of its own.
        built = MODELS.build(student_cfg)
        super().__init__(built.data_preprocessor, init_cfg)
        # The student's alone: as an attribute that is not its own, it is found there.
        del self.data_preprocessor
        self.student = built
        self.random_stream = RandomStream(_SEED)
        with self.random_stream.active():
            with located('model.teacher'):
                self.teachers = build_teachers(teacher, built.data_preprocessor)
            (bound, adapters), self._task_losses, _ = build_together(
                lambda: build_pairs(pairs, built, self.teachers, 'model.pairs'),
                lambda: TaskLossWeights(task_loss_weights),
                lambda: check_inherited(self._inherited, built, self.teachers),
            )
        self.adapters = nn.ModuleDict(adapters)
        self.losses = nn.ModuleDict({pair.name: pair.loss for pair in bound})
        self._guidance = Guidance(bound, self.teachers)
        self._clock: Clock | None = None

    @staticmethod
    def _check_init_cfg(init_cfg: dict[str, Any] | None) -> None:
        if init_cfg is not None and not (
            init_cfg.get('type') == 'Pretrained'
            and set(init_cfg) == {'type', 'checkpoint'}
        ):
            raise ConfigError(
                "model.init_cfg must be dict(type='Pretrained', checkpoint='...'), got "
                f'{dict(init_cfg)}. Other initialisation belongs into model.student.'
            )

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
            load_checkpoint(self, self.init_cfg['checkpoint'], map_location='cpu')
        if self._inherited:
            with self.random_stream.active():
                self._inherit()
        self._is_init = True

    def _inherit(self) -> None:
        teacher = next(iter(self.teachers.values()))
        source = teacher.prepare(next(self.student.parameters()).device)
        copied = copy_matching(source, self.student, self._inherited)
        print_log(f'Inherited from the teacher: {", ".join(copied)}', 'current')

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        keys = [key for key in state_dict if key.startswith(prefix)]
        if keys and not is_distiller({key.removeprefix(prefix): None for key in keys}):
            self._accept_student(state_dict, prefix, keys)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _accept_student(
        self, state_dict: dict[str, Any], prefix: str, keys: Sequence[str]
    ) -> None:
        """Rename a plain student's entries; what is ours keeps its values."""
        for key in keys:
            state_dict[prefix + _STUDENT + key.removeprefix(prefix)] = state_dict.pop(
                key
            )
        for key, value in self.state_dict(prefix=prefix).items():
            if key.removeprefix(prefix).startswith(_OURS):
                state_dict[key] = value
        # By these, modules know the version of what they load.
        versions = getattr(state_dict, '_metadata', None) or {}
        root = prefix + _STUDENT.removesuffix('.')
        for name, version in list(versions.items()):
            if name == prefix.removesuffix('.'):
                versions.setdefault(root, version)
            elif name.startswith(prefix):
                versions.setdefault(f'{root}.{name.removeprefix(prefix)}', version)

    @staticmethod
    def student_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's part of a distiller's state, under the student's own names."""
        return {
            key.removeprefix(_STUDENT): value
            for key, value in state_dict.items()
            if key.startswith(_STUDENT)
        }

    # Training.

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """One step of the student, then of what its losses train by themselves.

        Args:
            data: a batch of the host's loader.
            optim_wrapper: of the student, or an ``OptimWrapperDict`` with its entry
                'student' and one for each of ``auxiliary_optimizers``.

        Returns: what to log.
        """
        own = student_wrapper(self.losses, optim_wrapper)
        told: dict[str, Tensor] = super().train_step(data, own)
        if own is not optim_wrapper:
            told = {**told, **self.step_auxiliary(optim_wrapper)}
        return told

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Steps of what the losses train by themselves, after the student's.

        Args:
            optim_wrapper: with an entry for each of them.

        Returns: what to log.
        """
        with self.random_stream.active():
            return step_auxiliary(self.losses, optim_wrapper)

    def set_clock(self, clock: Clock) -> None:
        """Tell how far training is: loss weights may follow it."""
        self._clock = clock

    def set_class_names(self, names: Sequence[str]) -> None:
        """Tell the student's class names: a teacher of others must not judge them.

        Compared with those in a teacher's checkpoint, once it is loaded, where a pair
        matches class by class, or a head is inherited.
        """
        asked = {
            pair.teacher
            for pair in self._guidance.pairs
            if pair.view.requires_same_classes
        }
        if includes_class_head(self._inherited):
            asked |= self.teachers.keys()
        for name in asked:
            self.teachers[name].set_class_names(names)

    def summary(self) -> str:
        """What is compared with what, and which part of each teacher runs."""
        guidance = self._guidance
        parts = {name: guidance.parts_of(name) for name in self.teachers}
        adapters: dict[str, Any] = dict(self.adapters.items())
        return summary_table(
            guidance.pairs, adapters, self.teachers, parts, self._inherited
        )

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Any]:
        """The student's losses, weighted, and ``loss_kd_<pair>`` of every pair.

        Args:
            inputs: (N, 3, H, W), preprocessed for the student.
            data_samples: of the batch.
        """
        guidance, ours = self._guidance, self.random_stream
        with ExitStack() as stack:
            with ours.active():
                runs = stack.enter_context(
                    guidance.runs(inputs, data_samples, self.data_preprocessor)
                )
            with attached(self.student, guidance.student_recorders()) as captured:
                losses = self.student(inputs, data_samples, mode='loss')
            losses = self._task_losses.apply(losses, self._clock)
            adapters: dict[str, Any] = dict(self.adapters.items())
            with ours.active():
                added = guidance.losses(
                    self.student,
                    adapters,
                    captured,
                    runs,
                    data_samples,
                    self._clock,
                    inputs,
                )
        return with_added(losses, added)
