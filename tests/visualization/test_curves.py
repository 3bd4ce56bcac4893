"""Curves from what the host logged."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.visualization.curves import draw_curves, read_scalars


def log(folder: Path, *lines: dict[str, Any], attempt: str = '1') -> Path:
    """A work directory of a run."""
    file = folder / attempt / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    return folder


def window(step: int, **values: float) -> dict[str, Any]:
    return dict(loss=1.0, lr=0.1, time=0.2, step=step, iter=step) | values


def test_a_step_done_again_counts_once_and_validations_are_apart(
    tmp_path: Path,
) -> None:
    log(tmp_path, window(10, loss=3.0), window(20, loss=2.0, loss_kd_hint=1.0))
    again = window(20, loss=1.5, loss_kd_hint=0.5)
    validation = {'mIoU': 40.0, 'IoU.road': float('nan'), 'step': 20}
    log(tmp_path, again, validation, attempt='2')
    training, validations = read_scalars(tmp_path)
    assert training == dict(loss={10: 3.0, 20: 1.5}, loss_kd_hint={20: 0.5})
    assert validations == dict(mIoU={20: 40.0})


def runs(folder: Path) -> list[Path]:
    one = log(
        folder / 'alone' / 'seed0',
        window(1, loss=3.0, acc=5.0),
        window(2, loss=2.0),
        {'mIoU': 40.0, 'IoU.road': 1.0, 'step': 2},
    )
    other = log(folder / 'hint' / 'seed0', window(2, loss=2.5, loss_kd_hint=0.5))
    return [one, other]


def test_losses_pairs_and_metrics_a_line_a_run(tmp_path: Path) -> None:
    figure, names = draw_curves(runs(tmp_path))
    assert names == ['loss', 'loss_kd_hint', 'mIoU']
    loss, hint, metric = figure.axes
    assert [axes.get_title() for axes in figure.axes] == names
    assert loss.lines[0].get_xydata().tolist() == [[1, 3], [2, 2]]
    assert loss.lines[1].get_xydata().tolist() == [[2, 2.5]]
    assert [len(line.get_xdata()) for line in hint.lines] == [0, 1]
    assert metric.lines[0].get_xydata().tolist() == [[2, 40]]
    (legend,) = figure.legends
    titles = [text.get_text() for text in legend.get_texts()]
    assert titles == ['alone/seed0', 'hint/seed0']


def test_scalars_by_name_and_pattern(tmp_path: Path) -> None:
    _, names = draw_curves(runs(tmp_path), ['IoU.*', 'loss*', 'loss'])
    assert names == ['IoU.road', 'loss', 'loss_kd_hint']
    message = r"--scalars: no run logged 'mIou'\. Close: 'mIoU'"
    with pytest.raises(ConfigError, match=message):
        draw_curves(runs(tmp_path / 'again'), ['mIou'])


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='Give the work_dir of a run'):
        draw_curves([tmp_path])
