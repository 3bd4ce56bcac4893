"""Reasons against a comparison of a benchmark's figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .plan import Run
from .protocol import Protocol

Results = Mapping[int, Mapping[str, Any]]


def doubts(
    protocol: Protocol,
    runs: Sequence[Run],
    results: Mapping[str, Results],
    *,
    steps_timed: bool = False,
) -> tuple[str, ...]:
    """A sentence for each reason; empty if there is none.

    Args:
        protocol: of the benchmark.
        runs: of all requested recipes and seeds.
        results: of finished runs, by recipe and seed.
        steps_timed: whether the cost is that of steps, measured apart from the runs.
    """
    return (
        *_outdated(runs),
        *_of_fidelity(runs, results),
        *_of_machines(results, steps_timed),
        *_warnings(protocol, results),
    )


def _outdated(runs: Sequence[Run]) -> list[str]:
    names = [run.title for run in runs if run.outdated]
    if not names:
        return []
    return [
        'Left out, as config, options or weights have changed since they were run: '
        f'{"; ".join(names)}.'
    ]


def _of_fidelity(runs: Sequence[Run], results: Mapping[str, Results]) -> Iterator[str]:
    names = [
        run.title
        for run in runs
        if run.seed is not None
        and run.seed in results.get(run.recipe, {})
        and run.lacks_fidelity(results[run.recipe][run.seed])
    ]
    if names:
        yield (
            'Fidelity was not measured yet, or otherwise than the protocol says, of: '
            f'{"; ".join(names)}. Run the benchmark again: it trains nothing anew.'
        )


def _of_machines(results: Mapping[str, Results], steps_timed: bool) -> Iterator[str]:
    if _differ('machine', results):
        what = 'memory is' if steps_timed else 'times and memory are'
        yield f'Runs were made on different machines: {what} not comparable.'
    if _differ('jobs', results) and not steps_timed:
        yield (
            'Runs were made with different numbers of runs side by side: times are not '
            'comparable.'
        )


def _differ(key: str, results: Mapping[str, Results]) -> bool:
    finished = (result for seeds in results.values() for result in seeds.values())
    return len({str(result[key]) for result in finished}) > 1


def _warnings(protocol: Protocol, results: Mapping[str, Results]) -> list[str]:
    warnings = []
    if _differ('versions', results):
        warnings.append('Runs were made with different versions of packages.')
    for key, what in (
        ('student', 'initial weights of the student'),
        ('batches', 'first batches'),
    ):
        by_seed: dict[int, dict[str, list[str]]] = {}
        for name, seeds in results.items():
            if key == 'student' and protocol.recipes[name].own_start:
                continue
            for seed, result in seeds.items():
                start = (result.get('start') or {}).get(key)
                by_seed.setdefault(seed, {}).setdefault(str(start), []).append(name)
        for seed, groups in sorted(by_seed.items()):
            unrecorded = groups.pop('None', [])
            if unrecorded:
                warnings.append(
                    f'Seed {seed}: {what} of {", ".join(unrecorded)} were not recorded.'
                )
            if len(groups) > 1:
                shown = '; '.join(', '.join(group) for group in groups.values())
                warnings.append(f'Seed {seed}: the {what} differ between: {shown}.')
    return warnings
