"""The student alone, or another recipe, trained for as many seconds as each row took.

What is trained is the protocol's baseline, the same student from the same weights, or
what ``equal_time`` of the protocol names, such as plain KD beside procedures of several
stages. Its iterations, and its schedule with them, are multiplied by what the row takes
of its time.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.overrides import apply_overrides
from ..engine.stages import has_stages
from ..errors import ConfigError
from ._common import DISTILLERS, PEERS, read_json, write_json
from .longer import length_key_of, scaled_options
from .plan import Run, key_of, plan_runs, write_configs
from .protocol import Protocol, Recipe
from .stages import scored_config
from .statistics import Gain, Summary, paired_gain, summarise

_SHARE = 20  # ratios are rounded up to a twentieth: rows of like cost share runs
_DRIFT = 0.05  # a ratio measured again within this keeps its runs
_UNITS = {'max_iters': 'iterations', 'max_epochs': 'epochs'}


def file_of(protocol: Protocol, trained: str) -> str:
    """Name of the file that says how long a recipe is trained, for each row."""
    return f'equal_time{_suffix(protocol, trained, "_")}.json'


def _suffix(protocol: Protocol, trained: str, before: str) -> str:
    return '' if trained == protocol.baseline else f'{before}{trained}'


@dataclass(frozen=True)
class Ratio:
    """How many trainings of a recipe, such as the student alone, one of a row takes.

    Attributes:
        value: as measured.
        source: 'steps' (``--cost``) or 'trainings' (the times in their logs).
    """

    value: float
    source: str


@dataclass(frozen=True)
class EqualTime:
    """The trainings of a recipe, such as the student alone, that take as long as a row.

    Attributes:
        ratio: to the length of the recipe's own training.
        measured: the ratio as it was measured.
        length: of the trainings, in words.
        recipe: what is trained.
        options: what is scaled: dotted keys to values.
        runs: one for each seed.
    """

    ratio: float
    measured: Ratio
    length: str
    recipe: Recipe
    options: Mapping[str, Any]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class EqualTimeScores:
    """What a recipe, such as the student alone, scores in as many seconds as a row.

    Attributes:
        ratio: to the length of the recipe's own training.
        length: of the trainings, in words.
        scores: by seed, times the protocol's scale.
        missing: seeds without a run.
        summary: mean and spread; None without a finished run.
        gain: of the row over it, of the common seeds; None without one.
    """

    ratio: float
    length: str
    scores: Mapping[int, float]
    missing: tuple[int, ...]
    summary: Summary | None
    gain: Gain | None


def plan_equal_time(
    protocol: Protocol,
    work_dir: Path,
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
    ratios: Mapping[str, Ratio],
    overrides: Mapping[str, Any] | None = None,
    lengths: Sequence[float] = (),
    trained: str = '',
) -> dict[str, EqualTime]:
    """The runs for each distillation among the recipes whose ratio is known.

    A ratio for which runs were planned before is kept while what is measured now is
    within 5 % of it, so that a new measurement asks for no new runs.

    Args:
        protocol: of the benchmark.
        work_dir: of the benchmark.
        recipes: the rows, by name.
        seeds: to train with, whatever seeds a row has.
        ratios: as measured, by name.
        overrides: options for every run.
        lengths: of trainings, as multiples of its own; a row takes the next longer one,
            so that many rows share few runs. Above the longest, and without any: its
            own ratio, rounded up to a twentieth.
        trained: name of the recipe that is trained; default: the baseline.

    Raises: ConfigError for a recipe without a length, or of several stages.
    """
    trained = trained or protocol.baseline
    earlier = _planned(protocol, work_dir, trained)
    overrides = dict(overrides or {})
    planned: dict[float, EqualTime] = {}
    rows = {}
    for name, recipe in recipes.items():
        if name in (protocol.baseline, trained) or not _distills(recipe):
            continue
        key = key_of(recipe.written, {**recipe.options, **overrides})
        before = earlier.get(name)
        measured = _ratio_of(before, key, ratios.get(name))
        if measured is None:
            continue
        ratio = _length(measured.value, lengths)
        if not lengths and before and measured.value == before['measured']:
            ratio = float(before['ratio'])
        if ratio not in planned:
            planned[ratio] = _equal_time(
                protocol, work_dir, trained, ratio, measured, overrides, seeds
            )
        found = planned[ratio]
        rows[name] = EqualTime(
            ratio, measured, found.length, found.recipe, found.options, found.runs
        )
    return rows


def write_equal_time(
    protocol: Protocol,
    work_dir: Path,
    rows: Mapping[str, EqualTime],
    overrides: Mapping[str, Any] | None = None,
    trained: str = '',
) -> None:
    """Write the configs of the runs, and ``equal_time.json``: what was scaled by what.

    Of another recipe than the baseline it is ``equal_time_<recipe>.json``. Rows that
    were planned before, and are not among these, stay in the file.
    """
    trained = trained or protocol.baseline
    recipes = {
        item.recipe.name: item.recipe for item in rows.values() if item.ratio > 1
    }
    write_configs(work_dir, recipes)
    earlier = _planned(protocol, work_dir, trained)
    written = {
        name: {
            'key': key_of(
                protocol.recipes[name].written,
                {**protocol.recipes[name].options, **(overrides or {})},
            ),
            'measured': item.measured.value,
            'source': item.measured.source,
            'ratio': item.ratio,
            'trained': trained,
            'length': item.length,
            'scaled': dict(item.options),
        }
        for name, item in rows.items()
    }
    file = work_dir / file_of(protocol, trained)
    write_json(file, {'rows': {**earlier, **written}})


def _planned(protocol: Protocol, work_dir: Path, trained: str) -> dict[str, Any]:
    rows = (read_json(work_dir / file_of(protocol, trained)) or {}).get('rows', {})
    return dict(rows)


def equal_time_scores(
    protocol: Protocol, item: EqualTime, row: Mapping[int, float]
) -> EqualTimeScores:
    """The scores of the finished runs, and the gain of the row over them.

    Args:
        protocol: of the benchmark.
        item: the runs.
        row: scores of the row, by seed, times the protocol's scale.
    """
    results = {run.seed: run.result() for run in item.runs if run.seed is not None}
    scores = {
        seed: float(result['score']) * protocol.scale
        for seed, result in results.items()
        if result is not None
    }
    return EqualTimeScores(
        item.ratio,
        item.length,
        scores,
        tuple(seed for seed in results if seed not in scores),
        summarise(list(scores.values())) if scores else None,
        paired_gain(row, scores, lower_is_better=protocol.lower_is_better),
    )


def _equal_time(
    protocol: Protocol,
    work_dir: Path,
    trained: str,
    ratio: float,
    measured: Ratio,
    overrides: Mapping[str, Any],
    seeds: Sequence[int],
) -> EqualTime:
    """The training of a recipe, ``ratio`` times as long; for 1 the recipe itself."""
    own = protocol.recipes[trained]
    options = {**own.options, **overrides}
    cfg = copy.deepcopy(own.written)
    if has_stages(cfg):
        raise ConfigError(
            f"{protocol.path}: equal_time names '{trained}', which has stages: only "
            'what is one training is made longer. Name another recipe.'
        )
    apply_overrides(cfg, options)
    unit = length_key_of(cfg)
    scaled = scaled_options(cfg, ratio) if ratio > 1 else {}
    length = scaled.get(f'train_cfg.{unit}', cfg.train_cfg[unit])
    recipe = Recipe(
        f'equal-time{_suffix(protocol, trained, "-")}-{ratio:.2f}'
        if ratio > 1
        else own.name,
        own.config,
        {**options, **scaled},
        fidelity=ratio == 1 and own.fidelity,
    )
    runs = plan_runs(protocol, work_dir, {recipe.name: recipe}, seeds)
    return EqualTime(
        ratio, measured, f'{length} {_UNITS[unit]}', recipe, scaled, tuple(runs)
    )


def _length(ratio: float, lengths: Sequence[float]) -> float:
    """How long to train, as a multiple: the next of the lengths, or the next twentieth.

    Example:
        >>> _length(1.31, [1.2, 1.6]), _length(1.31, []), _length(0.9, [])
        (1.6, 1.35, 1.0)
    """
    longer = [length for length in lengths if length >= ratio]
    rounded = math.ceil(round(ratio * _SHARE, 6)) / _SHARE
    return min(longer) if longer else max(rounded, 1.0)


def _ratio_of(
    earlier: Mapping[str, Any] | None, key: str, measured: Ratio | None
) -> Ratio | None:
    """The ratio to plan with: the earlier one, unless it is not true any more."""
    if not earlier or earlier.get('key') != key:
        return measured
    planned = Ratio(float(earlier['measured']), str(earlier['source']))
    if measured is None or abs(measured.value / planned.value - 1) <= _DRIFT:
        return planned
    return measured


def _distills(recipe: Recipe) -> bool:
    cfg = scored_config(recipe.written)
    return (cfg.get('model') or {}).get('type') in (*DISTILLERS, *PEERS)
