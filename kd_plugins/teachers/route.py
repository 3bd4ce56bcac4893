"""A teacher whose weights follow the training: checkpoints of its own route."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ..checks import check_bool, check_float, check_int
from ..errors import ConfigError, located
from ..host_types import HostModule
from ..registry import TEACHERS
from ..schedules import Clock
from ..schedules._base import check_step
from .checkpoints import check_fits, load_weights
from .teacher import Teacher

_REPLACED = ('checkpoint', 'allow_random', 'cache')


@dataclass(frozen=True)
class Anchor:
    """A checkpoint of a route.

    Attributes:
        begin: iteration, or epoch, from which it teaches.
        checkpoint: path of it.
        key: its configuration key below that of the teacher.
    """

    begin: int
    checkpoint: str
    key: str


@dataclass
class _Held:
    """Which anchor's weights a model holds; shared by all copies of its teacher.

    Attributes:
        number: of the anchor; None: none yet.
        checked: whether the files of the anchors to come were looked at.
    """

    number: int | None = None
    checked: bool = False


@TEACHERS.register_module()
class Route(Teacher):
    """RCO: checkpoints of one teacher, from easy to hard, one after the other.

    The student meets at first what the teacher was early in its own training. Which
    checkpoint teaches is a function of the iteration (or epoch) alone, so a resumed run
    continues with the same; those that are behind it are not asked for. Before the
    first step all that are still to come are read once, and one of another model is
    refused. Where there is no training (in ``eval``) it is what it was last, or the
    last of the route.

    Args:
        name: under which pairs ask for it.
        cfg: as of :class:`Teacher`, and in the place of ``checkpoint``:
            ``checkpoints``, by the iteration from which each teaches, from 0; or a list
            of them and ``interval``, after how many iterations comes the next (the
            last stays); ``by_epoch``, whether these numbers are epochs. It has no
            ``cache``. Its fast copy, where it is used, is made anew for each.
        student_preprocessor: as of :class:`Teacher`.

    Attributes:
        anchors: its checkpoints in order.
        by_epoch: whether they change at epochs.

    Source: Jin et al., Knowledge Distillation via Route Constrained Optimization, ICCV
        2019, https://arxiv.org/abs/1904.09149. A list and ``interval`` are its equal
        epoch intervals; see :func:`greedy_anchor` for the other choice.
    Raises: ConfigError, with the key below its own.
    """

    keys: ClassVar[tuple[str, ...]] = (
        *(key for key in Teacher.keys if key not in _REPLACED),
        *('checkpoints', 'interval', 'by_epoch'),
    )

    def __init__(
        self,
        name: str,
        cfg: dict[str, Any],
        student_preprocessor: HostModule | None = None,
    ) -> None:
        if cfg.get('cache') is not None:
            raise ConfigError(
                'a Route changes its weights, and a cache holds what one checkpoint '
                'gave. Remove it.',
                key='cache',
            )
        if 'checkpoint' in cfg:
            raise ConfigError(
                'a Route has several: checkpoints={0: ..., 500: ...}.', key='checkpoint'
            )
        self.anchors = read_anchors(cfg.get('checkpoints'), cfg.get('interval'))
        self.by_epoch = check_bool('by_epoch', cfg.get('by_epoch', False))
        own = ('checkpoints', 'interval', 'by_epoch')
        plain = {key: value for key, value in cfg.items() if key not in own}
        super().__init__(name, plain, student_preprocessor)
        self._wanted: int | None = None
        self._held = _Held()
        self._copied: int | None = None  # of which anchor the fast copy was made

    def _check_weights(self, cfg: dict[str, Any]) -> None:
        pass  # it has several checkpoints, each of its own time

    def anchor_at(self, clock: Clock) -> int:
        """Number of the anchor that teaches at this moment.

        Raises: ConfigError for a route of epochs in a loop of iterations.
        """
        if self.by_epoch and not clock.by_epoch:
            raise ConfigError(
                'the route counts epochs (by_epoch=True), this training loop counts '
                'iterations. Set by_epoch=False, and checkpoints in iterations.',
                key=self.key,
            )
        step = clock.epoch if self.by_epoch else clock.iteration
        return bisect_right([anchor.begin for anchor in self.anchors], step) - 1

    def set_clock(self, clock: Clock | None) -> None:
        """Choose the anchor of this moment; it is loaded when the teacher runs."""
        if clock is None:
            raise ConfigError(
                'is a Route, and the iteration is not known. Set '
                "runner_type='kd_plugins.DistillRunner', as configs/_base_/distill.py "
                'does.',
                key=self.key,
            )
        self._wanted = self.anchor_at(clock)

    def prepare(self, device: torch.device) -> HostModule:
        """Load the anchor of the moment, where the model holds another."""
        number = self._wanted
        if number is None:
            last = len(self.anchors) - 1
            number = last if self._held.number is None else self._held.number
        elif not self._held.checked:
            self._check_from(number)
            self._held.checked = True
        if self._held.number != number:
            anchor = self.anchors[number]
            self._load(anchor.checkpoint, f'{self.key}.{anchor.key}')
            self._built.eval()
            self._held.number = number
        if self._copied != number:
            self.fast.renew()
            self._copied = number
        self.loaded = True
        return super().prepare(device)

    def _check_from(self, number: int) -> None:
        """Refuse files of another model, before one of them is needed."""
        for anchor in self.anchors[number:]:
            key = f'{self.key}.{anchor.key}'
            weights = load_weights(anchor.checkpoint, key=key, prefix=self._prefix)
            check_fits(self._built, weights, key, classes=self._expected)

    @property
    def source(self) -> str:
        """Its checkpoints, and when each begins."""
        unit = 'epoch' if self.by_epoch else 'iteration'
        parts = [f'{item.checkpoint} from {unit} {item.begin}' for item in self.anchors]
        return f'a route of {len(parts)} checkpoints: {", ".join(parts)}'


def read_anchors(checkpoints: object, interval: object = None) -> tuple[Anchor, ...]:
    """Anchors of ``checkpoints`` and ``interval``, in order.

    Args:
        checkpoints: by their first iteration or epoch, or a list.
        interval: of a list, how many iterations or epochs each teaches.

    Raises: ConfigError for anything else.

    Example:
        >>> [anchor.begin for anchor in read_anchors(['a.pth', 'b.pth', 'c.pth'], 4)]
        [0, 4, 8]
    """
    if isinstance(checkpoints, (list, tuple)) and checkpoints:
        if interval is None:
            raise ConfigError(
                'a list of checkpoints needs interval, after how many iterations (or '
                'epochs, by_epoch=True) comes the next.'
            )
        step = check_int('interval', interval)
        keyed = [
            (number * step, path, f'checkpoints.{number}')
            for number, path in enumerate(checkpoints)
        ]
    elif isinstance(checkpoints, Mapping) and checkpoints:
        if interval is not None:
            raise ConfigError(
                'goes with a list of checkpoints; these say when each begins. Remove '
                'it.',
                key='interval',
            )
        with located('checkpoints'):
            begins = {_begin(key): key for key in checkpoints}
            if min(begins) != 0:
                raise ConfigError(
                    f'the first must begin at 0, got {min(begins)}: before it there '
                    'would be no teacher.'
                )
        keyed = [
            (begin, checkpoints[begins[begin]], f'checkpoints.{begins[begin]}')
            for begin in sorted(begins)
        ]
    else:
        raise ConfigError(
            "must be checkpoints={0: 'a.pth', 500: 'b.pth'}, or a list of them with "
            f'interval, got {checkpoints!r}.',
            key='checkpoints',
        )
    for _, path, key in keyed:
        if not isinstance(path, str) or not path:
            raise ConfigError(f'must be the path of a checkpoint, got {path!r}.', key)
    return tuple(Anchor(begin, path, key) for begin, path, key in keyed)


def _begin(key: object) -> int:
    """An iteration; the command line writes numbers as text."""
    number = int(key) if isinstance(key, str) and key.isdigit() else key
    return check_step('an iteration or epoch', number)


def greedy_anchor(losses: Sequence[float], current: int, threshold: float) -> int:
    """The next anchor of a route: the hardest that is not too hard for the student.

    Of the later checkpoints, in order, the last before the loss under one is more than
    ``threshold`` times that under the current one; the very next where none is easy
    enough, so that a route ends.

    Args:
        losses: of the student under each checkpoint of the teacher, on the same data,
            such as KL divergences; > 0.
        current: number of the checkpoint it was taught by last.
        threshold: > 1, the largest ratio of two losses.

    Returns: number of the next checkpoint; ``current`` after the last.
    Source: greedy search of Jin et al. (see :class:`Route`); the paper's threshold is
        not taken over, so it has no default.
    Raises: ConfigError for a number that there is not, a loss or threshold that means
        nothing.

    Example:
        >>> greedy_anchor([0.2, 0.25, 0.28, 0.5], current=0, threshold=1.5)
        2
    """
    if not 0 <= check_int('current', current, minimum=0) < len(losses):
        raise ConfigError(
            f'current must be one of 0 to {len(losses) - 1}, got {current}.'
        )
    check_float('threshold', threshold, minimum=1.0, strict=True)
    for loss in losses:
        check_float('a loss', loss, strict=True)
    found = current
    for number in range(current + 1, len(losses)):
        if losses[number] > threshold * losses[current]:
            break
        found = number
    return max(found, min(current + 1, len(losses) - 1))
