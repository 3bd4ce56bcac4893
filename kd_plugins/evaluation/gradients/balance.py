"""Loss weights that follow what is measured of the gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size

from ...distillers.pair import Pair
from ...errors import located
from ...schedules import Clock, GradientShare
from .shares import PARTS, WHOLE, GradientShares, PairGradient

# Entry of a checkpoint with the states of the balanced weights.
STATES = 'gradient_shares'


def balanced(pairs: Sequence[Pair]) -> dict[str, GradientShare]:
    """The schedules of pairs that are kept at a share, by name."""
    return {
        pair.name: pair.schedule
        for pair in pairs
        if isinstance(pair.schedule, GradientShare)
    }


def due(pairs: Sequence[Pair], clock: Clock) -> list[str]:
    """Names of the pairs whose weight is to follow a measurement at this moment.

    Raises: ConfigError naming a pair that begins after the training ends.
    """
    names = []
    for pair in pairs:
        if isinstance(pair.schedule, GradientShare):
            with located(pair.key), located('loss.loss_weight'):
                if pair.schedule.is_due(clock):
                    names.append(pair.name)
    return names


def balance_weights(
    pairs: Sequence[Pair], shares: GradientShares, clock: Clock
) -> GradientShares:
    """Let the weights that are due follow a measurement.

    Args:
        pairs: of the distiller.
        shares: the same on all ranks, see :func:`mean_over_ranks`.
        clock: the moment of the measurement.

    Returns: the shares at the new weights.
    """
    for name in due(pairs, clock):
        balanced(pairs)[name].observe(shares.suggested_weight(name, 1.0))
    weights = {name: schedule(clock) for name, schedule in balanced(pairs).items()}
    return replace(
        shares,
        pairs={
            name: replace(pair, weight=weights.get(name, pair.weight))
            for name, pair in shares.pairs.items()
        },
    )


def assume_weights(pairs: Sequence[Pair]) -> None:
    """Give each balanced weight that nothing has measured the value 1.

    For who times a step, which takes as long at any weight.
    """
    for schedule in balanced(pairs).values():
        if not schedule.measurements:
            schedule.observe(1 / schedule.share)


def states_of(pairs: Sequence[Pair]) -> dict[str, dict[str, Any]]:
    """What a checkpoint holds of the balanced weights, by name of the pair."""
    return {name: each.state_dict() for name, each in balanced(pairs).items()}


def load_states(pairs: Sequence[Pair], states: Mapping[str, dict[str, Any]]) -> None:
    """Go on with the balanced weights of a checkpoint; a pair that it lacks begins."""
    for name, schedule in balanced(pairs).items():
        if name in states:
            schedule.load_state_dict(states[name])


def mean_over_ranks(
    shares: GradientShares, device: torch.device | str = 'cpu'
) -> GradientShares:
    """Means over the processes, each of which has measured its own batch.

    All processes must call it, and get the same numbers.

    Args:
        shares: of this process.
        device: where the processes exchange numbers.
    """
    if get_world_size() == 1:
        return shares
    numbers = [shares.task_value, *_by_part(shares.task_norms)]
    for pair in shares.pairs.values():
        numbers += [pair.value, *_by_part(pair.norms), *_by_part(pair.cosines)]
        numbers += [float(pair.reaches)]
    flat = torch.tensor(numbers, dtype=torch.float64, device=device)
    all_reduce(flat, op='mean')
    means = iter(flat.tolist())
    task_value, task_norms = next(means), {part: next(means) for part in PARTS}
    pairs: dict[str, PairGradient] = {}
    for name, pair in shares.pairs.items():
        value, norms = next(means), {part: next(means) for part in PARTS}
        cosines = {part: next(means) for part in PARTS}
        pairs[name] = replace(
            pair,
            value=value,
            norms=norms,
            cosines=cosines,
            reaches=next(means) > 0,
            alive=norms[WHOLE] != 0,
        )
    return replace(shares, task_value=task_value, task_norms=task_norms, pairs=pairs)


def _by_part(numbers: Mapping[str, float]) -> list[float]:
    return [numbers[part] for part in PARTS]
