"""Peers that pause: a switch decides, step by step, whether a peer goes on learning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ..build import build
from ..combinations import MergedTeachers
from ..errors import ConfigError, collected, located, nearest, raise_together
from ..registry import SWITCHES
from ..switches import Switch
from ..views import MatchedTensors
from .distiller import Distiller
from .ensemble_pair import EnsemblePair
from .pair import Pair, statistic_name
from .step import Matched

_WHERE = 'model.switches'
_OURS = ('pair', 'students')


@dataclass(frozen=True)
class BoundSwitch:
    """A switch between a peer and one that it teaches.

    Attributes:
        peer: that learns or not.
        student: that it teaches.
        pair: of the student's, in which it does.
        first: where in what that pair matches the peer's levels begin.
        switch: decides.
        gated: names of the peer's own pairs in which the student teaches it: without
            weight where it does not learn from it.
    """

    peer: str
    student: str
    pair: Pair
    first: int
    switch: Switch
    gated: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What is logged of it, among the peer's."""
        return statistic_name(f'learns_from_{self.student}')

    def statistics(self, matched: Matched) -> Tensor | None:
        """Sums of this process in this step; None where there is nothing to judge by.

        Args:
            matched: of the student's pairs.
        """
        items = matched.get(self.pair.name)
        # A pair without weight is matched in its first step, only to be tried.
        if not items or not self.pair.loss.loss_weight:
            return None
        levels = items[self.first : self.first + len(self.pair.view.tensors)]
        sums = [self._sums_of(item) for item in levels if item is not None]
        return torch.stack(sums).sum(dim=0) if sums else None

    def _sums_of(self, item: MatchedTensors) -> Tensor:
        assert item.target is not None
        return self.switch.statistics(
            item.student,
            item.teacher,
            item.target,
            mask=item.mask,
            background=item.context.background,
        )


@dataclass(frozen=True)
class Decisions:
    """Who learns from whom in a step.

    Attributes:
        paused: peers that are not updated.
        gated: peer and name of its pairs that have no weight.
        logs: 1 or 0 by peer, and what is logged of it.
    """

    paused: frozenset[str] = frozenset()
    gated: frozenset[tuple[str, str]] = frozenset()
    logs: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


def decide(
    switches: Sequence[BoundSwitch],
    matched: Mapping[str, Matched],
    device: torch.device,
) -> Decisions:
    """What all switches say of a step, the same on all ranks.

    A peer pauses where none of its switches lets it learn.

    Args:
        switches: of all peers.
        matched: tensors of each peer's pairs, by peer.
        device: where the ranks exchange numbers.
    """
    if not switches:
        return Decisions()
    found = [each.statistics(matched[each.student]) for each in switches]
    width = max((len(sums) for sums in found if sums is not None), default=4)
    stacked = torch.stack(
        [torch.zeros(width, device=device) if sums is None else sums for sums in found]
    )
    all_reduce(stacked)
    verdicts = torch.stack(
        [each.switch.learns(sums) for each, sums in zip(switches, stacked, strict=True)]
    )
    learns = dict(zip(switches, verdicts.tolist(), strict=True))
    logs: dict[str, dict[str, Tensor]] = {each.peer: {} for each in switches}
    for each, verdict in zip(switches, verdicts, strict=True):
        logs[each.peer][each.key] = verdict.float()
    return Decisions(
        frozenset(
            peer
            for peer in logs
            if not any(learns[each] for each in switches if each.peer == peer)
        ),
        frozenset(
            (each.peer, name)
            for each in switches
            if not learns[each]
            for name in each.gated
        ),
        logs,
    )


def build_switches(
    cfg: Mapping[str, Any] | None, learners: Mapping[str, Distiller]
) -> list[BoundSwitch]:
    """Switches by the peers that they are for.

    Args:
        cfg: of each such peer, by name: ``type`` and options of a switch, ``pair``, by
            which the peer teaches its students, and ``students``, names (default: all
            that it teaches by that pair); None removes one.
        learners: all peers.

    Raises: ConfigError with all faults.
    """
    if cfg is not None and not isinstance(cfg, Mapping):
        raise ConfigError(f'must be a dict of switches by peer, got {cfg!r}.', _WHERE)
    bound: list[BoundSwitch] = []
    faults: list[ConfigError] = []
    for peer, options in (cfg or {}).items():
        if options is None:
            continue
        with collected(faults), located(_WHERE), located(str(peer)):
            if peer not in learners:
                raise ConfigError(f'there is no such peer. {nearest(peer, learners)}')
            bound += _bind(peer, options, learners)
    raise_together(faults)
    return bound


def _bind(
    peer: str, options: object, learners: Mapping[str, Distiller]
) -> list[BoundSwitch]:
    if not isinstance(options, Mapping) or not isinstance(options.get('pair'), str):
        raise ConfigError(
            "needs a type, and the pair by which it teaches: dict(type='"
            f"AdaptiveSwitch', pair='logits'), got {options!r}."
        )
    built = build(SWITCHES, {key: options[key] for key in options if key not in _OURS})
    if not isinstance(built, Switch):
        raise ConfigError(f'{type(built).__name__} is no Switch.', 'type')
    name, taught = options['pair'], _taught(peer, options['pair'], learners)
    listed: Any = [*taught]
    if 'students' in options:
        students = options['students']
        listed = [students] if isinstance(students, str) else students
        if not isinstance(listed, (list, tuple)) or not listed:
            raise ConfigError(f'must be a list of peers, got {students!r}.', 'students')
    for student in listed:
        if student not in [*taught]:  # it may be anything
            raise ConfigError(
                f"'{student}' is no peer that '{peer}' teaches by '{name}' of pairs. "
                f'{nearest(str(student), taught)}',
                'students',
            )
    with located('pair'):
        if not listed:
            pairs = {pair.name for each in learners.values() for pair in each.pairs}
            raise ConfigError(
                f"'{peer}' teaches nobody by '{name}' of pairs. {nearest(name, pairs)}"
            )
        return [
            BoundSwitch(
                peer,
                student,
                taught[student],
                _first(peer, taught[student]),
                built,
                _gated(peer, student, learners) if len(listed) > 1 else (),
            )
            for student in listed
        ]


def _taught(peer: str, name: str, learners: Mapping[str, Distiller]) -> dict[str, Pair]:
    """The pair of this name of each peer that another one teaches by it."""
    return {
        student: pair
        for student, learner in learners.items()
        for pair in learner.pairs
        if student != peer and pair.name == name and peer in pair.views
    }


def _first(peer: str, pair: Pair) -> int:
    """Where the peer's levels begin in what a pair matches.

    Raises: ConfigError for a pair that is not of class logits with labels, or that
        merges its teachers.
    """
    if isinstance(pair, EnsemblePair) and isinstance(pair.combination, MergedTeachers):
        raise ConfigError(
            f'{pair.combination.describe()} makes one target of several peers, of '
            "which a switch must see one. Use combine=dict(type='MeanLosses')."
        )
    for spec in pair.view.tensors:
        if spec.context.activation != 'softmax' or spec.target is None:
            raise ConfigError(
                f'compares {spec.name}, and a switch judges by softmax logits with '
                "labels. Name a pair of 'roi.logits' or 'seg.logits'."
            )
    return [*pair.views].index(peer) * len(pair.view.tensors)


def _gated(
    peer: str, student: str, learners: Mapping[str, Distiller]
) -> tuple[str, ...]:
    """Pairs of a peer in which one of several students teaches it.

    Raises: ConfigError where others do in the same pair.
    """
    pairs = [pair for pair in learners[peer].pairs if student in pair.views]
    for pair in pairs:
        if len(pair.views) > 1:
            raise ConfigError(
                f"'{peer}' may learn from one of its students and not from another, "
                f"and its pair '{pair.name}' combines them. Give each a pair of its "
                f"own: student='{peer}', teacher='{student}'."
            )
    return tuple(pair.name for pair in pairs)
