"""Cost of a distilling step beyond student, teacher and adapters.

The parts are timed in turn, on one batch, in one process: the step of the student alone
(the plain model, with its optimiser), the plain teacher's forward as far as the pairs
of the recipe need it, that of its fast copy where one is used, the adapters' forward
and backward on fixed tensors, and the distilling step; then that step with a teacher
whose answers are read from a cache. Learning rates are 0, so that both students stay
the same. With weight schedules, the time is that at the moment when most pairs have a
weight, of five moments from the first iteration to the last. If at one of them no pair
has a weight, as after a first stage, the step of that phase is timed too. What whole
trainings cost, and those of several stages, is in
:mod:`~kd_plugins.benchmark.cost_trainings`.
"""

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import Tensor, nn

from ..distillers import Distiller
from ..distillers.pair import Pair, adapt
from ..distillers.student import student_config
from ..engine.amp import amp_for_device
from ..engine.optimizer import DistillOptimWrapperConstructor
from ..errors import ConfigError
from ..evaluation.gradients.balance import assume_weights
from ..registry import MODELS
from ..schedules import Clock
from ._common import DISTILLERS
from .cost_cached import marked, with_caches
from .cost_stages import Trainee, stages_of
from .stopwatch import time_in_turn

STUDENT, TEACHER, ADAPTERS = 'student step', 'teacher forward', 'adapters'
FAST = 'fast teacher forward'
DISTILLING, IDLE = 'distilling step', 'step without pairs'
CACHED = 'cached step'
REFERENCE = 'step of the student of the last stage'
ORDER = (STUDENT, TEACHER, FAST, ADAPTERS, DISTILLING)
_PARTS = (STUDENT, TEACHER, ADAPTERS)
_CONSTRUCTOR = f'kd_plugins.{DistillOptimWrapperConstructor.__name__}'


@dataclass(frozen=True)
class Cost:
    """Times of one recipe.

    Attributes:
        recipe: name of the recipe.
        seconds: of each round, by part.
        stages: median seconds of each stage of a step, of the student alone and of the
            distiller; a label that begins with '- ' is part of the stage before it.
        bound: largest ratio allowed; None: there is none.
        idle_share: of the training, in which no pair has a weight.
    """

    recipe: str
    seconds: Mapping[str, list[float]]
    stages: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    bound: float | None = None
    idle_share: float = 0.0

    @property
    def medians(self) -> dict[str, float]:
        """Median seconds by part."""
        return {name: statistics.median(times) for name, times in self.seconds.items()}

    @property
    def ratio(self) -> float:
        """Median distilling step over the sum of the medians of the other parts."""
        medians = self.medians
        return medians[DISTILLING] / sum(
            seconds for name, seconds in medians.items() if name in _PARTS
        )

    @property
    def step_ratio(self) -> float:
        """Median over the rounds of: distilling step / step of the student alone."""
        return self._over_student(DISTILLING)

    @property
    def idle_ratio(self) -> float | None:
        """As ``step_ratio``, of a phase without pairs; None: there is none."""
        return self._over_student(IDLE) if IDLE in self.seconds else None

    @property
    def cached_ratio(self) -> float | None:
        """As ``step_ratio``, of a cached teacher; None: it cannot be cached."""
        return self._over_student(CACHED) if CACHED in self.seconds else None

    @property
    def mean_ratio(self) -> float:
        """Of the training's mean step, over the student's of the last stage.

        With both kinds of steps, each by its share, where a phase has no pairs.
        """
        alone = REFERENCE if REFERENCE in self.seconds else STUDENT
        ratio = self._over(DISTILLING, alone)
        if IDLE not in self.seconds:
            return ratio
        idle = self._over(IDLE, alone)
        return (1 - self.idle_share) * ratio + self.idle_share * idle

    def _over_student(self, part: str) -> float:
        return self._over(part, STUDENT)

    def _over(self, part: str, alone: str) -> float:
        pairs = zip(self.seconds[part], self.seconds[alone], strict=True)
        return statistics.median(step / own for step, own in pairs)

    @property
    def paired_ratio(self) -> float:
        """Median over the rounds of the ratio within a round."""
        parts = [name for name in self.seconds if name in _PARTS]
        return statistics.median(
            step / sum(self.seconds[name][number] for name in parts)
            for number, step in enumerate(self.seconds[DISTILLING])
        )


def measure_cost(
    recipe: str,
    cfg: Config,
    batch: dict[str, Any],
    *,
    steps: int = 30,
    warmup: int = 10,
    bound: float | None = None,
    with_stages: bool = True,
    last_student: Trainee | None = None,
) -> Cost:
    """Time a recipe's step and its parts, with the current threads of torch.

    Args:
        recipe: name, for the report.
        cfg: of a distillation, from ``open_config``, which sets the current scope.
        batch: of the data loader.
        steps: number of timed rounds, >= 1.
        warmup: rounds before them.
        bound: of the ratio, for the report.
        with_stages: time the stages of the steps too, which takes ten more of each.
        last_student: of the last one of several trainings, timed in turn with these.

    Raises: ConfigError if ``cfg`` is no distillation.
    """
    if cfg.model.type not in DISTILLERS:
        raise ConfigError(
            f"cost: recipe '{recipe}' has a model of type '{cfg.model.type}', expected "
            "'kd_plugins.Distiller'."
        )
    alone = student_trainee(cfg, batch)
    distilling = distilling_trainee(cfg, batch, alone)
    parts = {STUDENT: alone.step, **_work(distilling), DISTILLING: distilling.step}
    if last_student is not None:
        parts[REFERENCE] = last_student.step
    busiest, idle = distilling.model.clock, moment_without_pairs(cfg, distilling.model)
    if idle is not None:

        def step_without_pairs() -> None:
            distilling.model.set_clock(idle)
            distilling.step()
            distilling.model.set_clock(busiest)

        parts[IDLE] = step_without_pairs
    with TemporaryDirectory(prefix='cost_', ignore_cleanup_errors=True) as folder:
        with suppress(ConfigError):  # of teachers that cannot be cached
            cached = distilling_trainee(with_caches(cfg, folder), marked(batch), alone)
            cached.step()  # fills it
            parts[CACHED] = cached.step
        seconds = time_in_turn(parts, steps=steps, warmup=warmup)
    stages = stages_of(alone, distilling) if with_stages else {}
    share = idle_share(cfg, distilling.model.pairs)
    return Cost(recipe, seconds, stages, bound, share)


def student_trainee(cfg: Config, batch: dict[str, Any]) -> Trainee:
    """The plain student, on the device."""
    plain = student_config(cfg)
    student = MODELS.build(plain.model)
    student.init_weights()
    student.to(get_device()).train()
    wrapper_cfg = amp_for_device(plain.optim_wrapper)
    wrapper = build_optim_wrapper(student, wrapper_cfg)
    return Trainee(student, _holding_still(wrapper), batch)


def distilling_trainee(cfg: Config, batch: dict[str, Any], alone: Trainee) -> Trainee:
    """The distiller, with the weights of the student alone."""
    distiller = MODELS.build(cfg.model)
    distiller.student.load_state_dict(alone.model.state_dict())
    assume_weights(distiller.pairs)
    distiller.set_clock(busiest_moment(cfg, distiller.pairs))
    distiller.to(get_device()).train()
    wrapper_cfg = amp_for_device(copy.deepcopy(cfg.optim_wrapper))
    wrapper_cfg['student_constructor'] = wrapper_cfg.get('constructor')
    wrapper_cfg['constructor'] = _CONSTRUCTOR
    wrapper = build_optim_wrapper(distiller, wrapper_cfg)
    return Trainee(distiller, _holding_still(wrapper), batch)


def _holding_still(wrapper: OptimWrapper | OptimWrapperDict) -> Any:
    """Optimisers that step by nothing.

    Students that learn, each in its own way, come to other numbers of proposals, and a
    step of one takes longer than a step of the other for that alone.
    """
    several = isinstance(wrapper, OptimWrapperDict)
    for each in wrapper.values() if several else [wrapper]:
        for group in each.param_groups:
            group['lr'] = 0.0
    return wrapper


def _moments(cfg: Config, number: int = 5) -> list[Clock]:
    """Moments of a training, from its first iteration to its last.

    For a loop of epochs, only by epochs: the config does not say how many iterations an
    epoch has.
    """
    train_cfg = cfg.get('train_cfg') or {}
    iterations, epochs = train_cfg.get('max_iters'), train_cfg.get('max_epochs')
    clocks = []
    for part in range(number):
        iteration, epoch = (
            part * ((last or 1) - 1) // (number - 1) for last in (iterations, epochs)
        )
        by_epoch = epochs is not None
        clocks.append(Clock(iteration, epoch, iterations, epochs, by_epoch))
    return clocks


def _at_work(pairs: Sequence[Pair], clock: Clock) -> int:
    """Number of pairs that have a weight at a moment."""
    for pair in pairs:
        pair.set_weight(clock)
    return sum(pair.loss.loss_weight != 0 for pair in pairs)


def busiest_moment(cfg: Config, pairs: Sequence[Pair]) -> Clock:
    """The moment at which most pairs have a weight, the first of several."""
    return max(_moments(cfg), key=lambda clock: _at_work(pairs, clock))


def moment_without_pairs(cfg: Config, distiller: Distiller) -> Clock | None:
    """The first moment at which no pair has a weight, if there are schedules."""
    pairs = distiller.pairs
    if not any(pair.schedule is not None for pair in pairs):
        return None
    idle = (clock for clock in _moments(cfg) if not _at_work(pairs, clock))
    return next(idle, None)


def idle_share(cfg: Config, pairs: Sequence[Pair]) -> float:
    """The share of a training in which no pair has a weight, of pairs of a schedule."""
    if not any(pair.schedule is not None for pair in pairs):
        return 0.0
    return statistics.fmean(not _at_work(pairs, each) for each in _moments(cfg, 1001))


def _work(trainee: Trainee) -> dict[str, Callable[[], None]]:
    """Functions that repeat the work of the teacher and of the adapters in a step."""
    distiller = trainee.model
    data = distiller.data_preprocessor(copy.copy(trainee.batch), True)
    inputs, samples = data['inputs'], data['data_samples']
    adapted: list[tuple[nn.Module, Tensor, Tensor]] = []
    with distiller.step(inputs, samples) as step:
        distiller.task_losses(step)
        matched = distiller.match(step)  # the first: decides on the fast copies
        for pair in distiller.pairs:
            for adapter, item in zip(
                pair.adapters or (), matched.get(pair.name, ()), strict=False
            ):
                if item is not None:
                    student = item.student.detach().requires_grad_()
                    adapted.append((adapter, student, item.teacher))

    def teacher_forward(exact: bool) -> Callable[[], None]:
        with distiller.step(inputs, samples, exact=exact) as step:
            distiller.task_losses(step)
            distiller.match(step)
            heads = [head for run in step.teachers.values() for head in run.heads]

        def forward() -> None:
            with distiller.step(inputs, samples, exact=exact), torch.no_grad():
                for head in heads:
                    head()

        return forward

    def adapters_both_ways() -> None:
        for adapter, student, teacher in adapted:
            output = adapt(adapter, student, teacher.shape)
            leaves = [student, *adapter.parameters()]
            torch.autograd.grad(output, leaves, teacher.to(output.dtype))

    work = {TEACHER: teacher_forward(exact=True)} if distiller.teachers else {}
    if any(each.fast.is_used(inputs.device) for each in distiller.teachers.values()):
        work[FAST] = teacher_forward(exact=False)
    return {**work, ADAPTERS: adapters_both_ways}
