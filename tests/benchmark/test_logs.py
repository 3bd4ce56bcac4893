"""Log files of the hosts: which lines are validations, which numbers are metrics."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.benchmark.logs import read_test, read_training
from kd_plugins.errors import ConfigError, DistillationError

STEP = {'lr': 0.01, 'decode.loss_ce': 2.0, 'loss': 2.5, 'time': 0.2, 'step': 50}
TIMES = {'data_time': 0.01, 'time': 0.1}
# As mmsegmentation's metrics of labels and of depths name them.
LABELS = {'aAcc': 81.5, 'mIoU': 40.25, 'mAcc': 55.0, 'IoU.brick': 12.5}
DEPTHS = {'d1': 0.75, 'abs_rel': 0.2, 'rmse': 0.6, 'silog': 0.3}


def write_training(folder: Path, *lines: dict[str, Any]) -> None:
    path = folder / '20300101_000000' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))


def write_test(folder: Path, content: dict[str, Any]) -> None:
    path = folder / '20300101_000000' / '20300101_000000.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ('metrics', 'score'), [(LABELS, 'mIoU'), (DEPTHS, 'rmse')], ids=['labels', 'depths']
)
def test_metrics_without_a_prefix(tmp_path, metrics, score):
    write_training(tmp_path, STEP, {**metrics, **TIMES, 'step': 50})
    log = read_training(tmp_path, score)
    assert log.metrics == metrics
    assert (log.iterations, log.seconds) == (50, pytest.approx(10.0))
    write_test(tmp_path / 'test', {**metrics, **TIMES})
    assert read_test(tmp_path / 'test', score) == metrics


def test_of_a_misspelt_metric_the_near_one_is_named(tmp_path):
    write_training(tmp_path, STEP, {**LABELS, **TIMES, 'step': 50})
    with pytest.raises(ConfigError, match=r"gave no 'mIou'. Close: 'mIoU'"):
        read_training(tmp_path, 'mIou')


def test_what_is_no_number_is_left_out_unless_it_is_the_score(tmp_path):
    nan = float('nan')
    write_training(tmp_path, STEP, {'rmse': 0.5, 'silog': nan, 'step': 50})
    assert read_training(tmp_path, 'rmse').metrics == {'rmse': 0.5}
    with pytest.raises(DistillationError, match="'silog' of the validation is nan"):
        read_training(tmp_path, 'silog')
