"""A plot of gains over the baseline, with intervals and every seed."""

import os
from pathlib import Path
from typing import Any

from ..extras import extra
from .report import Report

_GAIN, _LOSS, _SEED = '#2a7f3f', '#b03030', '#333333'


def draw_gains(report: Report) -> Any:
    """A matplotlib figure: for each recipe mean, 95 % interval, and a dot a seed.

    Recipes without a gain (the baseline, recipes without a run) are left out; the
    teacher's lead over the baseline is a dotted line.
    """
    with extra('report', 'the plot of gains'):
        from matplotlib.figure import Figure
    rows = [row for row in report.rows if row.gain is not None][::-1]
    figure = Figure(figsize=(7, 1.2 + 0.4 * max(len(rows), 1)), layout='constrained')
    axes = figure.add_subplot()
    for height, row in enumerate(rows):
        gain = row.gain
        assert gain is not None
        colour = _GAIN if gain.mean > 0 else _LOSS
        if gain.interval is not None:
            axes.plot(gain.interval, [height] * 2, color=colour, linewidth=6, alpha=0.3)
        values = list(gain.differences.values())
        axes.plot(values, [height] * len(values), 'o', color=_SEED, markersize=3.5)
        axes.plot([gain.mean], [height], 'D', color=colour, markersize=7)
    axes.axvline(0, color='black', linewidth=0.8)
    baseline = report.rows[0].summary
    if report.teacher is not None and baseline is not None:
        lead = report.protocol.gain(report.teacher, baseline.mean)
        axes.axvline(lead, color='grey', linestyle=':', label='teacher')
        axes.legend(loc='lower right')
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    protocol = report.protocol
    which = ', lower is better' if protocol.lower_is_better else ''
    axes.set_xlabel(f'gain over {protocol.baseline} ({protocol.unit}{which})')
    axes.grid(axis='x', alpha=0.3)
    return figure


def save_plot(report: Report, path: Path) -> None:
    """Write :func:`draw_gains` as PNG."""
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    draw_gains(report).savefig(part, dpi=120, format='png')
    part.replace(path)
