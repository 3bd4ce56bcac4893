"""A report as CSV and JSON: figures that are not rounded, where pages have text."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .details import Detail
from .report import Report, Row
from .statistics import Gain, Summary


def to_csv(report: Report) -> str:
    """One line for each recipe; empty without a run."""
    text = io.StringIO()
    columns = [*_record(report.rows[0]), *(f'seed_{seed}' for seed in report.seeds)]
    writer = csv.DictWriter(text, columns, lineterminator='\n')
    writer.writeheader()
    for row in report.rows:
        scores = {f'seed_{seed}': score for seed, score in row.scores.items()}
        writer.writerow({**_record(row), **scores})
    return text.getvalue()


def to_json(report: Report) -> dict[str, Any]:
    """The whole report, with the results of the runs."""
    protocol = report.protocol
    return {
        'protocol': str(protocol.path),
        'metric': protocol.metric,
        'lower_is_better': protocol.lower_is_better,
        'scale': protocol.scale,
        'seeds': list(report.seeds),
        'baseline': protocol.baseline,
        'teacher': report.teacher,
        'recipes': [
            {
                **_record(row),
                'scores': {str(seed): score for seed, score in row.scores.items()},
                'not_run_yet': [seed for seed in row.planned if seed not in row.scores],
            }
            for row in report.rows
        ],
        'comparisons': [
            {
                'first': first,
                'second': second,
                **_gain(gain),
                'seen': gain.seen if gain else None,
            }
            for first, second, gain in report.comparisons
        ],
        'details': _details(report.details),
        'fidelity': _details(report.fidelity),
        'warnings': report.warnings,
        'runs': report.runs,
    }


def _details(details: Sequence[Detail]) -> list[dict[str, Any]]:
    return [
        {
            'metric': item.metric,
            'teacher': item.teacher,
            'recipes': {
                name: None if summary is None else asdict(summary)
                for name, summary in item.recipes.items()
            },
        }
        for item in details
    ]


def _record(row: Row) -> dict[str, Any]:
    return {
        'recipe': row.name,
        'runs': len(row.scores),
        **_summary(row.summary),
        **_gain(row.gain),
        'gap_closed': row.gap_closed,
        'time_ratio': row.time_ratio,
        'seconds': row.seconds,
        'peak_memory_mib': row.peak_memory,
        'extra_memory_mib': row.extra_memory,
        'start': row.start,
        **_equal_time(row),
    }


def _equal_time(row: Row) -> dict[str, float | None]:
    """Of each recipe that is trained as long; the baseline's keys do not name it."""
    found: dict[str, float | None] = {}
    for trained in row.protocol.equal_time:
        one = row.equal_time.get(trained)
        of = 'equal_time_' + f'{trained}_' * (trained != row.protocol.baseline)
        found[f'{of}ratio'] = one.ratio if one else None
        found |= _summary(one.summary if one else None, of)
        found |= _gain(one.gain if one else None, of)
    return found


def _summary(summary: Summary | None, of: str = '') -> dict[str, float | None]:
    mean, std = (summary.mean, summary.std) if summary else (None, None)
    return {f'{of}mean': mean, f'{of}std': std}


def _gain(gain: Gain | None, of: str = '') -> dict[str, float | None]:
    low, high = (gain.interval if gain else None) or (None, None)
    mean = gain.mean if gain else None
    return {f'{of}gain': mean, f'{of}gain_low': low, f'{of}gain_high': high}
