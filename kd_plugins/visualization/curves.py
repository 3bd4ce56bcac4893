"""Curves of losses and metrics, from what the host logged of runs."""

import math
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..errors import ConfigError, nearest
from ..run_logs import scalar_lines

_NO_SCALAR = ('step', 'iter', 'epoch', 'time', 'data_time', 'memory', 'lr')
_ACROSS = 3
Scalars = dict[str, dict[int, float]]


def read_scalars(folder: Path) -> tuple[Scalars, Scalars]:
    """Scalars of a run, all its attempts together: name to step to value.

    Args:
        folder: its work directory, with ``<timestamp>/vis_data/scalars.json``.

    Returns: those of training, and those of validations, finite numbers. A step done
        again after a resume counts once, as it was last.

    Raises: ConfigError if nothing is found there.
    """
    training: Scalars = {}
    validations: Scalars = {}
    for line in scalar_lines(folder):
        into = training if 'loss' in line else validations
        for name, value in line.items():
            known = isinstance(value, (int, float)) and math.isfinite(value)
            if known and name not in _NO_SCALAR:
                into.setdefault(name, {})[int(line['step'])] = float(value)
    if not training and not validations:
        raise ConfigError(
            f"--curves {folder}: no '<timestamp>/vis_data/scalars.json' with a line in "
            'it. Give the work_dir of a run.'
        )
    return training, validations


def draw_curves(
    folders: Sequence[Path], scalars: Sequence[str] | None = None
) -> tuple[Figure, list[str]]:
    """One plot a scalar, one line a run, against the iteration (or epoch, as logged).

    Args:
        folders: work directories.
        scalars: names or globs; None for 'loss', every 'loss_kd_*', and the metrics of
            validations, those of single classes left out ('IoU.road').

    Returns: a matplotlib figure, and the names of the scalars in it.
    Raises: ConfigError for a name or glob that matches nothing, or a folder without
        logs.
    """
    runs = {_title(path, folders): read_scalars(path) for path in folders}
    trained = {name for training, _ in runs.values() for name in training}
    validated = {name for _, found in runs.values() for name in found}
    chosen = _choose(trained, validated, scalars)
    rows = math.ceil(len(chosen) / _ACROSS)
    across = min(len(chosen), _ACROSS)
    figure = Figure(figsize=(4.4 * across, 0.5 + 2.8 * rows), layout='constrained')
    lines: dict[str, Any] = {}
    for place, name in enumerate(chosen):
        axes = figure.add_subplot(rows, across, place + 1)
        validation = name in validated
        for colour, (title, found) in enumerate(runs.items()):
            values = found[validation].get(name, {})
            steps = sorted(values)
            (line,) = axes.plot(
                steps,
                [values[step] for step in steps],
                color=f'C{colour % 10}',
                marker='o' if validation else None,
                linestyle='-' if colour < 10 else '--',
                markersize=4,
                linewidth=1.3,
            )
            lines[title] = line
        if validation:
            axes.set_xlim(left=0)
            axes.margins(x=0.08)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel('validation at step' if validation else 'step', fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.legend(
        lines.values(),
        lines.keys(),
        loc='outside lower center',
        ncols=min(len(lines), _ACROSS),
        fontsize=9,
        frameon=False,
    )
    return figure, chosen


def _choose(
    trained: set[str], validated: set[str], wanted: Sequence[str] | None
) -> list[str]:
    every = sorted(trained) + sorted(validated - trained)
    if wanted is None:
        pairs = [name for name in sorted(trained) if name.startswith('loss_kd_')]
        metrics = [name for name in sorted(validated - trained) if '.' not in name]
        return [*(('loss',) if 'loss' in trained else ()), *pairs, *metrics]
    chosen: dict[str, None] = {}
    for pattern in wanted:
        found = [name for name in every if fnmatch(name, pattern)]
        if not found:
            raise ConfigError(
                f"--scalars: no run logged '{pattern}'. {nearest(pattern, every)}"
            )
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _title(folder: Path, folders: Sequence[Path]) -> str:
    """The shortest end of its path that is no other's, and not just a seed's."""
    parts = folder.resolve().parts
    for length in range(1, len(parts)):
        end = parts[-length:]
        alike = [other for other in folders if other.resolve().parts[-length:] == end]
        if len(alike) == 1 and not end[0].startswith('seed'):
            return '/'.join(end)
    return str(folder)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    figure.savefig(part, dpi=110, format='png')
    part.replace(path)
