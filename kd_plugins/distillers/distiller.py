"""The model wrapper: a student that trains under its teachers' guidance."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from ..errors import ConfigError, nearest
from ..random_stream import RandomStream
from ..registry import MODELS
from ..schedules import Clock
from ..teachers import Teacher, build_teachers, model_config
from ..views import Matched, ModelRun, Probe, Step, attached
from ..views.run import REACHES
from .health import TeacherHealth
from .inheritance import copy_matching
from .pair import Pair
from .plan import plan_table
from .task_losses import TaskLossWeights

_SEED = 2017
_STUDENT = 'student.'


@MODELS.register_module()
class Distiller(BaseModel):  # type: ignore[misc]
    """A student of the host's, whose losses gain those of the pairs.

    Everywhere but in ``loss`` it is the student: prediction, and every attribute that is
    not its own. Its checkpoint holds ``student.*``, ``adapters.*`` and ``losses.*``; the
    teachers are in none.

    Args:
        student: a model dict, or ``dict(cfg='mmdet::...')``.
        teacher: ``dict(cfg=..., checkpoint=...)``, or several by name.
        pairs: what is compared, by name; None removes an inherited pair.
        task_loss_weights: factors on the student's own losses, by key or glob.
        init_from_teacher: parts of the student, such as 'neck', that start from the
            teacher's weights where names and shapes are equal.
        init_cfg: the host's, for the student: ``dict(type='Pretrained', ...)`` accepts
            a plain student checkpoint.

    Raises: ConfigError for a configuration that cannot work, all faults of the pairs in
        one message.
    """

    def __init__(
        self,
        student: dict[str, Any],
        teacher: dict[str, Any],
        pairs: dict[str, dict[str, Any] | None],
        task_loss_weights: dict[str, Any] | None = None,
        init_from_teacher: Sequence[str] = (),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        # The student first, in the default random stream: it draws what it would draw
        # in the host's own run. Everything of ours draws from a stream of its own.
        built = MODELS.build(model_config(student, 'model.student'))
        super().__init__(built.data_preprocessor, init_cfg)
        self.student = built
        self.random_stream = RandomStream(_SEED)
        with self.random_stream.active():
            self.teachers = build_teachers(teacher, 'model.teacher')
            self._build_pairs(pairs)
        self._task_losses = TaskLossWeights(task_loss_weights)
        self._inherited = tuple(init_from_teacher)
        self._clock: Clock | None = None
        self._health = TeacherHealth()
        self._checked: set[str] = set()

    def _build_pairs(self, pairs: dict[str, dict[str, Any] | None]) -> None:
        self._pairs: list[Pair] = []
        adapters: dict[str, nn.ModuleList] = {}
        faults: list[str] = []
        # Sorted: the order in which pairs are written changes no result, not even the
        # adapters' initial weights.
        for name in sorted(pairs):
            cfg = pairs[name]
            if cfg is None:
                continue
            try:
                pair = Pair(name, cfg, f'model.pairs.{name}')
                built = pair.bind(self._probe(pair))
            except ConfigError as error:
                faults.append(str(error))
                continue
            if built:
                adapters[name] = nn.ModuleList(built)
            self._pairs.append(pair)
        if faults:
            raise ConfigError('\n'.join(faults))
        self.adapters = nn.ModuleDict(adapters)
        self.losses = nn.ModuleDict({pair.name: pair.loss for pair in self._pairs})

    def _probe(self, pair: Pair) -> Probe:
        name = pair.teacher_name
        if name is None and len(self.teachers) == 1:
            name = pair.teacher_name = next(iter(self.teachers))
        if name not in self.teachers:
            raise ConfigError(
                f"{pair.where}.teacher: no teacher '{name}'. "
                f'{nearest(str(name), self.teachers)}'
            )
        teacher = self.teachers[name]
        return Probe(self.student, teacher.model, name, teacher.scale)

    # What makes it the student, everywhere but in `loss`.

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            student = self.__dict__.get('_modules', {}).get('student')
            if student is None:
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
            teacher.to(device)  # the device only: its data type stays
        return self

    # Initial weights and checkpoints.

    def init_weights(self) -> None:
        """Initialise the student as the host does, then inherit from the teacher."""
        self.student.init_weights()
        if self.init_cfg and self.init_cfg.get('type') == 'Pretrained':
            load_checkpoint(self, self.init_cfg['checkpoint'], map_location='cpu')
        if self._inherited:
            with self.random_stream.active():
                self._inherit()
        self._is_init = True

    def _inherit(self) -> None:
        if len(self.teachers) > 1:
            raise ConfigError(
                'model.init_from_teacher needs a single teacher, got '
                f'{sorted(self.teachers)}.'
            )
        teacher = next(iter(self.teachers.values()))
        source = teacher.prepare(next(self.student.parameters()).device)
        copied = copy_matching(source, self.student, self._inherited)
        print_log(f'Inherited from the teacher: {", ".join(copied)}', 'current')

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        # A plain student checkpoint has no 'student.' before its names.
        own = tuple(prefix + part for part in (_STUDENT, 'adapters.', 'losses.'))
        if not any(key.startswith(own) for key in state_dict):
            for key in [key for key in state_dict if key.startswith(prefix)]:
                renamed = prefix + _STUDENT + key.removeprefix(prefix)
                state_dict[renamed] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @staticmethod
    def student_state_dict(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """The student's part of a distiller's state, under the student's own names."""
        return {
            key.removeprefix(_STUDENT): value
            for key, value in state_dict.items()
            if key.startswith(_STUDENT)
        }

    # Training.

    def set_clock(self, clock: Clock) -> None:
        """Tell how far training is: loss weights may follow it."""
        self._clock = clock

    def plan(self) -> str:
        """What is compared with what, and which part of each teacher runs."""
        parts: dict[str, list[str]] = {name: [] for name in self.teachers}
        for pair in self._pairs:
            chosen = parts[str(pair.teacher_name)]
            wanted = ('backbone', 'neck', *pair.view.teacher_parts())
            if self._reach([pair]) == 'backbone':
                wanted = ('backbone',)
            chosen.extend(part for part in wanted if part not in chosen)
        adapters: dict[str, Any] = dict(self.adapters.items())
        return plan_table(self._pairs, adapters, self.teachers, parts)

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Any]:
        """The student's losses, weighted, and ``loss_kd_<pair>`` of every pair.

        Args:
            inputs: (N, 3, H, W), preprocessed for the student.
            data_samples: of the batch.
        """
        with ExitStack() as stack:
            with self.random_stream.active():
                runs = {
                    name: stack.enter_context(self._run_teacher(name, inputs, data_samples))
                    for name in self.teachers
                    if self._pairs_of(name)
                }
            captures = [
                capture
                for pair in self._pairs
                for capture in pair.view.student_captures()
            ]
            with attached(self.student, captures) as captured:
                losses = self.student.loss(inputs, data_samples)
            losses = self._task_losses.apply(losses, self._clock)
            with self.random_stream.active():
                matched = {}
                for pair in self._pairs:
                    run = runs[str(pair.teacher_name)]
                    step = Step(self.student, captured, run, data_samples)
                    matched[pair.name] = pair.view.match(step)
                losses.update(self._pair_losses(matched))
        return losses

    def _pairs_of(self, teacher: str) -> list[Pair]:
        return [pair for pair in self._pairs if pair.teacher_name == teacher]

    @contextmanager
    def _run_teacher(
        self, name: str, inputs: Tensor, data_samples: Any
    ) -> Iterator[ModelRun]:
        """Compute a teacher's features, as far as needed; its captures stay attached."""
        teacher, pairs = self.teachers[name], self._pairs_of(name)
        model = teacher.prepare(inputs.device)
        own = teacher.inputs(inputs, data_samples, self.data_preprocessor)
        height, width = (int(side * teacher.scale) for side in inputs.shape[-2:])
        captures = [
            capture for pair in pairs for capture in pair.view.teacher_captures()
        ]
        with attached(model, captures) as captured:
            yield ModelRun(
                model, own, captured, self._reach(pairs), (height, width), teacher.scale
            )

    @staticmethod
    def _reach(pairs: Sequence[Pair]) -> str:
        parts = {part for pair in pairs for part in pair.view.teacher_parts()}
        if parts - {'neck'}:
            return REACHES[2]
        return REACHES[1] if parts else REACHES[0]

    def _pair_losses(
        self, matched: dict[str, list[Matched | None]]
    ) -> dict[str, Tensor]:
        self._health.check(
            {
                f'{pair.where} ({place.name})': item.teacher
                for pair in self._pairs
                for place, item in zip(pair.places, matched[pair.name], strict=True)
                if item is not None
            }
        )
        device = next(self.student.parameters()).device
        factors = _averaged(matched, device)
        losses = {}
        for pair in self._pairs:
            pair.set_weight(self._clock)
            adapters = (
                list(self.adapters[pair.name]) if pair.name in self.adapters else []
            )
            values = pair.compute(
                matched[pair.name], adapters, factors[pair.name], device
            )
            if pair.name not in self._checked:
                pair.check_alive(matched[pair.name], values)
                self._checked.add(pair.name)
            key = f'loss_kd_{pair.name}'
            if pair.per_level:  # the host adds up every key with 'loss' in it
                for number, value in enumerate(values):
                    losses[f'{key}_{number}'] = value / len(values)
            else:
                losses[key] = torch.stack(values).mean()
        return losses


def _averaged(
    matched: dict[str, list[Matched | None]], device: torch.device
) -> dict[str, list[Tensor | float]]:
    """Counts of every pair averaged over the ranks, in one message for all of them."""
    counts = {
        name: [0.0 if item is None else item.count for item in items]
        for name, items in matched.items()
    }
    if get_world_size() == 1:
        return counts
    flat = [
        torch.as_tensor(count, dtype=torch.float32, device=device)
        for items in counts.values()
        for count in items
    ]
    stacked = torch.stack(flat)
    all_reduce(stacked, op='mean')
    averaged = iter(stacked)
    return {name: [next(averaged) for _ in items] for name, items in counts.items()}
