"""A report as CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .details import Detail
from .report import Report, Row
from .statistics import Gain


def to_csv(report: Report) -> str:
    """One line for each recipe; empty without a run."""
    seeds = [f'seed_{seed}' for seed in report.seeds]
    columns = list(_record(report.rows[0]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow([*columns, *seeds])
    for row in report.rows:
        values = [*_record(row).values(), *(row.scores.get(s) for s in report.seeds)]
        writer.writerow(['' if value is None else value for value in values])
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
                'not_run_yet': row.missing,
            }
            for row in report.rows
        ],
        'comparisons': [
            {
                'first': first,
                'second': second,
                'seen': gain.seen if gain else None,
                **_gain_record(gain),
            }
            for first, second, gain in report.comparisons
        ],
        'details': _detail_records(report.details),
        'fidelity': _detail_records(report.fidelity),
        'warnings': report.warnings,
        'runs': report.runs,
    }


def _detail_records(details: Sequence[Detail]) -> list[dict[str, Any]]:
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
        'mean': row.summary.mean if row.summary else None,
        'std': row.summary.std if row.summary else None,
        **_gain_record(row.gain),
        'gap_closed': row.gap_closed,
        'time_ratio': row.time_ratio,
        'seconds': row.seconds,
        'peak_memory_mib': row.peak_memory,
        'extra_memory_mib': row.extra_memory,
        'start': row.start,
        **_equal_time_record(row),
    }


def _equal_time_record(row: Row) -> dict[str, Any]:
    item = row.equal_time
    gain = _gain_record(item.gain if item else None)
    return {
        'equal_time_ratio': item.ratio if item else None,
        'equal_time_mean': item.summary.mean if item and item.summary else None,
        'equal_time_std': item.summary.std if item and item.summary else None,
        **{f'equal_time_{key}': value for key, value in gain.items()},
    }


def _gain_record(gain: Gain | None) -> dict[str, float | None]:
    low, high = (gain.interval if gain else None) or (None, None)
    return {'gain': gain.mean if gain else None, 'gain_low': low, 'gain_high': high}
