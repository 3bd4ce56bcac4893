"""Step costs as Markdown and JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..tables import markdown_table
from .cost import CACHED, DISTILLING, IDLE, ORDER, Cost
from .cost_stages import WHOLE, WITHIN
from .machine import in_words

_REST = 'everything else'


def cost_markdown(
    costs: Sequence[Cost],
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    threads: int,
    trainings: Iterable[tuple[str, str, str]] = (),
) -> str:
    """A table of the parts of every recipe, whole trainings, the stages of each step.

    Args:
        costs: at least one.
        machine: of the measurement.
        versions: of the packages.
        threads: of torch.
        trainings: rows of what whole trainings take.
    """
    rounds = len(costs[0].seconds[DISTILLING])
    lines = [
        '# Step cost',
        '',
        f'Medians of {rounds} steps in turn, in ms; ratio: distilling step over the '
        'sum of student step, plain teacher and adapters (of the medians; median of '
        'the ratios within a round). A cached step reads what the teacher gave from '
        'disk; a step without pairs is one of a phase in which no pair has a weight; '
        "beside each its ratio to the student's own.",
        '',
    ]
    measured = [part for cost in costs for part in cost.medians]
    parts = [part for part in ORDER if part in measured]
    beside = [title for part in (CACHED, IDLE) for title in (part, 'over the student')]
    lines += markdown_table(
        ('recipe', *parts, 'ratio', 'paired ratio', 'bound', *beside),
        [
            (
                cost.recipe,
                *(
                    _ms(cost.medians[part]) if part in cost.medians else '-'
                    for part in parts
                ),
                f'{cost.ratio:.3f}',
                f'{cost.paired_ratio:.3f}',
                _verdict(cost),
                *_beside(cost, CACHED, cost.cached_ratio),
                *_beside(cost, IDLE, cost.idle_ratio),
            )
            for cost in costs
        ],
    )
    whole = list(trainings)
    if whole:
        lines += ['', '## Whole trainings', '']
        columns = ('recipe', 'length x mean step', "over the student's training")
        lines += markdown_table(columns, whole)
        lines += [
            '',
            "Mean step: over the student's, of the last stage where there are several. "
            'A phase without pairs counts as what it costs.',
        ]
    for cost in costs:
        lines += ['', f'## Where the time goes: {cost.recipe}', '']
        lines += markdown_table(
            ('stage, ms', 'student alone', 'distilling', 'more'),
            [
                (label, _ms(alone), _ms(distilling), _ms(distilling - alone))
                for label, (alone, distilling) in with_rest(cost.stages).items()
            ],
        )
    described = in_words(machine, versions)
    lines += ['', f'Measured with: {threads} threads; {described}.']
    return '\n'.join(lines) + '\n'


def cost_json(
    costs: Sequence[Cost],
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    threads: int,
    keys: Mapping[str, str],
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All costs, with every round.

    Args:
        costs: one for each recipe.
        machine: of the measurement.
        versions: of the packages.
        threads: of torch.
        keys: hashes of the recipes' configs, by name.
        earlier: an earlier result of this function; its other recipes are kept if
            machine, versions and threads are the same.
    """
    facts = {
        'threads': threads,
        'machine': dict(machine),
        'versions': dict(versions),
    }
    earlier = earlier or {}
    same = all(earlier.get(key) == value for key, value in facts.items())
    return {
        **facts,
        'trainings': dict(earlier.get('trainings', {}) if same else {}),
        'recipes': [
            *(
                recipe
                for recipe in (earlier.get('recipes', ()) if same else ())
                if recipe['recipe'] not in keys
            ),
            *(
                {
                    'recipe': cost.recipe,
                    'key': keys[cost.recipe],
                    'bound': cost.bound,
                    'ratio': cost.ratio,
                    'paired_ratio': cost.paired_ratio,
                    'step_ratio': cost.step_ratio,
                    'idle_ratio': cost.idle_ratio,
                    'idle_share': cost.idle_share,
                    'cached_ratio': cost.cached_ratio,
                    'median_seconds': cost.medians,
                    'seconds': {
                        part: list(times) for part, times in cost.seconds.items()
                    },
                    'stages': {
                        label: {'alone': alone, 'distilling': distilling}
                        for label, (alone, distilling) in with_rest(cost.stages).items()
                    },
                }
                for cost in costs
            ),
        ],
    }


def with_rest(
    stages: Mapping[str, tuple[float, float]],
) -> dict[str, tuple[float, float]]:
    """Stages, then the time that no stage covers, then the whole step.

    Example:
        >>> with_rest({'loss': (1.0, 2.0), '- heads': (0.0, 1.0), 'whole step': (3, 5)})
        {'loss': (1.0, 2.0), '- heads': (0.0, 1.0), 'everything else': (2.0, 3.0),
        'whole step': (3, 5)}
    """
    whole = stages[WHOLE]
    listed = {label: times for label, times in stages.items() if label != WHOLE}
    covered = [times for label, times in listed.items() if not label.startswith(WITHIN)]
    rest = tuple(whole[n] - sum(times[n] for times in covered) for n in (0, 1))
    return {**listed, _REST: (rest[0], rest[1]), WHOLE: whole}


def _verdict(cost: Cost) -> str:
    if cost.bound is None:
        return 'as measured'
    return f'{cost.bound:.2f}: {"kept" if cost.ratio <= cost.bound else "exceeded"}'


def _beside(cost: Cost, part: str, ratio: float | None) -> tuple[str, str]:
    if ratio is None:
        return '-', '-'
    return _ms(cost.medians[part]), f'{ratio:.3f}'


def _ms(seconds: float) -> str:
    return f'{1000 * seconds:.1f}'
