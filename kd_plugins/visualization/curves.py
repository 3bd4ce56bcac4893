"""Curves of losses and metrics, from the host's logs of runs."""

import math
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, nearest
from ..extras import extra
from ..run_logs import scalar_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_SCALAR = ('step', 'iter', 'epoch', 'time', 'data_time', 'memory', 'lr')
_ACROSS = 3
Scalars = dict[str, dict[int, float]]


def read_scalars(folder: Path) -> tuple[Scalars, Scalars]:
    """Scalars of a run, all its attempts together: name to step to value.

    Args:
        folder: its work directory, with ``<timestamp>/vis_data/scalars.json``.

    Returns: scalars of training, and of validations, finite numbers. Of a step that was
        repeated after a resume, the last value counts.

    Raises: ConfigError for a folder without logs.
    """
    training: Scalars = {}
    validations: Scalars = {}
    for line in scalar_lines(folder):
        into = training if 'loss' in line else validations
        for name, value in line.items():
            finite = isinstance(value, (int, float)) and math.isfinite(value)
            if finite and name not in _NO_SCALAR:
                into.setdefault(name, {})[int(line['step'])] = float(value)
    if not training and not validations:
        raise ConfigError(
            f"--curves {folder}: no '<timestamp>/vis_data/scalars.json' with a line in "
            'it. Give the work_dir of a run.'
        )
    return training, validations


def draw_curves(
    folders: Sequence[Path], scalars: Sequence[str] | None = None
) -> tuple['Figure', list[str]]:
    """One plot for each scalar, one line for each run, by iteration (or epoch).

    Args:
        folders: work directories.
        scalars: names or globs; None for 'loss', every 'loss_kd_*', and the metrics of
            validations, except those of single classes ('IoU.road').

    Returns: a matplotlib figure, and the names of the scalars in it.
    Raises: ConfigError for a name or glob without match, or a folder without
        logs.
    """
    with extra('report', '--curves'):
        from matplotlib.figure import Figure
    runs = {_title(path, folders): read_scalars(path) for path in folders}
    trained = {name for training, _ in runs.values() for name in training}
    validated = {name for _, scores in runs.values() for name in scores}
    names = _choose(trained, validated, scalars)
    rows = math.ceil(len(names) / _ACROSS)
    across = min(len(names), _ACROSS)
    figure = Figure(figsize=(4.4 * across, 0.5 + 2.8 * rows), layout='constrained')
    lines: dict[str, Any] = {}
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, across, index + 1)
        validation = name in validated
        for colour, (title, curves) in enumerate(runs.items()):
            values = curves[validation].get(name, {})
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
    return figure, names


def _choose(
    trained: set[str], validated: set[str], wanted: Sequence[str] | None
) -> list[str]:
    every = sorted(trained) + sorted(validated - trained)
    if wanted is None:
        pairs = [name for name in sorted(trained) if name.startswith('loss_kd_')]
        metrics = [name for name in sorted(validated - trained) if '.' not in name]
        return [*(('loss',) if 'loss' in trained else ()), *pairs, *metrics]
    names: dict[str, None] = {}
    for pattern in wanted:
        matches = [name for name in every if fnmatch(name, pattern)]
        if not matches:
            raise ConfigError(
                f"--scalars: no run logged '{pattern}'. {nearest(pattern, every)}"
            )
        names.update(dict.fromkeys(matches))
    return list(names)


def _title(folder: Path, folders: Sequence[Path]) -> str:
    """The shortest end of the path that is unique and more than 'seed...'."""
    parts = folder.resolve().parts
    for length in range(1, len(parts)):
        end = parts[-length:]
        same = [path for path in folders if path.resolve().parts[-length:] == end]
        if len(same) == 1 and not end[0].startswith('seed'):
            return '/'.join(end)
    return str(folder)


def save_figure(figure: 'Figure', path: Path) -> None:
    """Write a figure as PNG, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    figure.savefig(part, dpi=110, format='png')
    part.replace(path)
