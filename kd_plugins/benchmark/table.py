"""A report as Markdown, CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..tables import markdown_table
from .details import Detail
from .protocol import Protocol
from .report import Comparison, Report, Row
from .statistics import Gain

NOT_RUN = 'not run yet'
EQUAL_TIME = 'student alone, equal time'
_WHAT_GAINS_ARE = {
    False: 'Gains are over the baseline',
    True: "Lower is better: gains are by how much a score is below the baseline's",
}


def to_markdown(report: Report) -> str:
    """Head, tables of recipes, comparisons and details, and the warnings."""
    protocol = report.protocol
    lines = [
        f'# {protocol.name}',
        '',
        f'`{protocol.path}`: {protocol.unit} (`{protocol.metric}`), '
        f'seeds {", ".join(map(str, report.seeds))}. '
        f'{_WHAT_GAINS_ARE[protocol.lower_is_better]}, paired by seed, with a 95 % '
        'interval (Student); time is that of training alone, over the baseline; '
        'student alone, equal time: the baseline trained for as many seconds as the '
        'row took, its schedule stretched, and the gain of the row over it; memory is '
        'the peak.',
        '',
    ]
    if protocol.teacher is not None:
        shown = (
            NOT_RUN if report.teacher is None else score_text(protocol, report.teacher)
        )
        lines += [f'Teacher: {shown}.', '']
    own_start = [
        row.name for row in report.rows if protocol.recipes[row.name].own_start
    ]
    lines += markdown_table(
        (
            *('recipe', protocol.unit, 'gain', 'gap closed', 'time'),
            *(EQUAL_TIME, 'over it', 'memory', 'by seed'),
        ),
        [
            _cells(report, row, ' *' if row.name in own_start else '')
            for row in report.rows
        ],
    )
    if own_start:
        lines += ['', '\\* starts from weights of its own, on purpose.']
    if report.comparisons:
        lines += ['', '## Expected directions', '']
        lines += markdown_table(
            ('expected', 'gain', 'by seed', 'verdict'),
            [_comparison_cells(protocol, item) for item in report.comparisons],
        )
    if report.details:
        times = '' if protocol.scale == 1 else f', times {protocol.scale:g}'
        lines += ['', '## Details', '', f'Means over the seeds{times}.', '']
        lines += _detail_table(report)
    if report.fidelity:
        lines += ['', '## Fidelity', '', 'Means over the seeds.', '']
        lines += _fidelity_table(report)
    if report.unknown_details:
        lines += ['', *(f'- **{fault}**' for fault in report.unknown_details)]
    if report.warnings:
        lines += ['', *(f'- **{warning}**' for warning in report.warnings)]
    elif len(report.runs) > 1:
        but = ' (but for *)' if own_start else ''
        lines += [
            '',
            f'Per seed, all runs had the same initial weights{but} and batches.',
        ]
    if report.measured_with:
        lines += ['', f'Measured with: {report.measured_with}.']
    if report.missing:
        lines += ['', f'Not run yet: {report.missing} runs.']
    return '\n'.join(lines) + '\n'


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
                'not_run_yet': list(row.missing),
            }
            for row in report.rows
        ],
        'comparisons': [
            {
                'first': item.first,
                'second': item.second,
                'verdict': item.verdict,
                **_gain_record(item.gain),
            }
            for item in report.comparisons
        ],
        'details': _detail_records(report.details),
        'fidelity': _detail_records(report.fidelity),
        'unknown_details': list(report.unknown_details),
        'warnings': list(report.warnings),
        'measured_with': report.measured_with,
        'runs': [dict(run) for run in report.runs],
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


def _cells(report: Report, row: Row, mark: str) -> list[str]:
    protocol = report.protocol
    if row.summary is None:
        return [row.name + mark, NOT_RUN, *[''] * 7]
    spread = row.summary.std
    return [
        row.name + mark,
        score_text(protocol, row.summary.mean)
        + ('' if spread is None else f' ± {score_text(protocol, spread)}'),
        _gain_text(protocol, row.gain),
        '' if row.gap_closed is None else f'{100 * row.gap_closed:.0f} %',
        '' if row.time_ratio is None else f'{row.time_ratio:.2f}x',
        *equal_time_texts(report, row),
        f'{row.peak_memory:.0f} MiB',
        _by_seed(report, row),
    ]


def equal_time_texts(report: Report, row: Row) -> tuple[str, str]:
    """The student alone at equal time: its score, and the row's gain over it."""
    protocol, item = report.protocol, row.equal_time
    if row.name == protocol.baseline:
        return '', ''
    if item is None or item.summary is None:
        return NOT_RUN, ''
    text = score_text(protocol, item.summary.mean)
    if item.summary.std is not None:
        text += f' ± {score_text(protocol, item.summary.std)}'
    return text, _gain_text(protocol, item.gain)


def _by_seed(report: Report, row: Row) -> str:
    """Scores in the order of the report's seeds; with names if there are fewer."""
    named = set(row.planned) != set(report.seeds)
    return ', '.join(
        (f'seed {seed}: ' if named else '')
        + (
            score_text(report.protocol, row.scores[seed])
            if seed in row.scores
            else NOT_RUN
        )
        for seed in report.seeds
        if seed in row.planned
    )


def _comparison_cells(protocol: Protocol, item: Comparison) -> list[str]:
    by_seed = item.gain.differences.values() if item.gain else ()
    sign = '<' if protocol.lower_is_better else '>'
    return [
        f'{item.first} {sign} {item.second}',
        _gain_text(protocol, item.gain),
        ', '.join(difference_text(protocol, value) for value in by_seed),
        item.verdict,
    ]


def _detail_table(report: Report) -> list[str]:
    """A row for each metric; a column for an evaluated teacher."""
    columns = {
        row.name: [
            None if (summary := item.recipes[row.name]) is None else summary.mean
            for item in report.details
        ]
        for row in report.rows
    }
    teacher = [item.teacher for item in report.details]
    if any(value is not None for value in teacher):
        columns['teacher'] = teacher
    texts = [
        [
            '' if value is None else score_text(report.protocol, value)
            for value in column
        ]
        for column in columns.values()
    ]
    metrics = [item.metric for item in report.details]
    return markdown_table(('metric', *columns), list(zip(metrics, *texts, strict=True)))


def _fidelity_table(report: Report) -> list[str]:
    """A row for each measured recipe."""
    rows = [
        [row.name, *('' if item is None else f'{item.mean:.3f}' for item in summaries)]
        for row in report.rows
        if any(summaries := [item.recipes[row.name] for item in report.fidelity])
    ]
    names = [item.metric.removeprefix('fidelity/') for item in report.fidelity]
    return markdown_table(('recipe', *names), rows)


def _gain_text(protocol: Protocol, gain: Gain | None) -> str:
    if gain is None:
        return ''
    text, interval = gain_interval(protocol, gain)
    return f'{text} {interval}'


def gain_interval(protocol: Protocol, gain: Gain) -> tuple[str, str]:
    """A gain, and its interval; '(one seed)' for a single seed."""
    text = difference_text(protocol, gain.mean)
    if gain.interval is None:
        return text, '(one seed)'
    low, high = (difference_text(protocol, end) for end in gain.interval)
    return text, f'[{low}, {high}]'


def score_text(protocol: Protocol, value: float) -> str:
    """A score, with the protocol's decimals."""
    return f'{value:.{protocol.decimals}f}'


def difference_text(protocol: Protocol, value: float) -> str:
    """A difference of scores, with its sign."""
    return f'{value:+.{protocol.decimals}f}'
