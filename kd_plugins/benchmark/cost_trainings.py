"""Cost of whole trainings, of several stages too, over that of the student alone.

It is the sum over the stages of iterations times the mean step, over the iterations of
the protocol's baseline times a step of the student alone: that of the last stage. A
phase in which no pair has a weight counts as what it costs.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmengine.config import Config

from ..engine.opening import first_batch, make_ready
from ..engine.stages.references import find_references
from ..errors import ConfigError
from ._common import DISTILLERS
from .cost import REFERENCE, STUDENT, Cost, measure_cost, student_trainee
from .cost_stages import Trainee
from .longer import length_key_of
from .stopwatch import time_in_turn


@dataclass(frozen=True)
class Part:
    """One training of a recipe.

    Attributes:
        stage: its name; empty where it is the only one.
        length: in iterations or epochs, as the config counts.
        unit: key of the length: 'max_iters' or 'max_epochs'.
        step: its mean step over one of the student of the last stage alone.
    """

    stage: str
    length: int
    unit: str
    step: float


def time_ratio(parts: Sequence[Part], baseline: Config) -> float | None:
    """Time of all trainings of a recipe over that of the student alone.

    Args:
        parts: of the recipe.
        baseline: config of the protocol's baseline, which says how long that trains.

    Returns: None where one counts iterations and the other epochs.

    Example:
        >>> first, last = Part('a', 300, 'max_iters', 2), Part('b', 700, 'max_iters', 1)
        >>> time_ratio([first, last], Config(dict(train_cfg=dict(max_iters=1000))))
        1.3
    """
    unit = length_key_of(baseline)
    if any(part.unit != unit for part in parts):
        return None
    whole = sum(part.length * part.step for part in parts)
    return float(whole / baseline.train_cfg[unit])


def measure_trainings(
    recipe: str, trainings: Mapping[str, Config], **options: Any
) -> tuple[list[Cost], list[Part]]:
    """Time the steps of all trainings of a recipe.

    Args:
        recipe: name, for the report.
        trainings: whole configs by the name of the stage, in order.
        **options: of :func:`~kd_plugins.benchmark.cost.measure_cost`.

    Returns: the cost of each distillation, and what each training takes.
    """
    last = None
    for cfg in trainings.values():
        _leave_out_files(cfg)
    if len(trainings) > 1:
        cfg = list(trainings.values())[-1]
        make_ready(cfg)
        last = student_trainee(cfg, first_batch(cfg))
    costs, parts = [], []
    for stage, cfg in trainings.items():
        make_ready(cfg)
        batch = first_batch(cfg)
        if last is not None and cfg.model.type not in DISTILLERS:
            step = _plain_step(student_trainee(cfg, batch), last, options)
        else:
            name = f'{recipe}: {stage}' if stage else recipe
            cost = measure_cost(name, cfg, batch, last_student=last, **options)
            costs.append(cost)
            step = cost.mean_ratio
        unit = length_key_of(cfg)
        parts.append(Part(stage, cfg.train_cfg[unit], unit, step))
    return costs, parts


def trainings_json(
    parts: Mapping[str, Sequence[Part]],
    ratios: Mapping[str, float | None],
    keys: Mapping[str, str],
) -> dict[str, Any]:
    """By recipe: its parts, the ratio of the whole, and the hash of its config."""
    return {
        name: {
            'key': keys[name],
            'time_ratio': ratios[name],
            'parts': [asdict(part) for part in each],
        }
        for name, each in parts.items()
    }


def rows(
    parts: Mapping[str, Sequence[Part]], ratios: Mapping[str, float | None]
) -> Iterator[tuple[str, str, str]]:
    """Of the table of whole trainings: recipe, its parts, and the ratio."""
    for name, each in parts.items():
        shown = ', '.join(
            f'{part.stage} {part.length} x {part.step:.3f}'.strip() for part in each
        )
        ratio = ratios[name]
        yield name, shown, '-' if ratio is None else f'{ratio:.3f}'


def _plain_step(plain: Trainee, last: Trainee, options: Mapping[str, Any]) -> float:
    """A step of a model without a teacher, over one of the last stage's student."""
    rounds = {key: options[key] for key in ('steps', 'warmup') if key in options}
    seconds = time_in_turn({STUDENT: plain.step, REFERENCE: last.step}, **rounds)
    pairs = zip(seconds[STUDENT], seconds[REFERENCE], strict=True)
    return statistics.median(step / own for step, own in pairs)


def _leave_out_files(cfg: Config) -> None:
    """Random weights in place of those that earlier stages would leave."""
    taken = {each.key for each in find_references(cfg.to_dict())}
    changes: dict[str, Any] = {}
    for key in taken:
        place, _, name = key.rpartition('.')
        if name == 'checkpoint':
            changes |= {key: None, f'{place}.allow_random': True}
        elif key == 'load_from':
            changes[key] = None
        else:
            raise ConfigError(
                'is taken from another stage, and is no checkpoint of a teacher: the '
                'cost of a step cannot be measured without it.',
                key,
            )
    cfg.merge_from_dict(changes)
