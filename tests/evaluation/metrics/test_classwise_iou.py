"""The IoU of each class, beside what the host's metric says."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.evaluation.metrics import IoUMetric

from kd_plugins.benchmark.logs import read_test, read_training
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.engine.overrides import apply_overrides
from kd_plugins.evaluation.metrics import ClasswiseIoUMetric

pytestmark = pytest.mark.host
CONFIGS = Path(__file__).parents[3] / 'configs'
CLASSES = ('brick', 'traffic light', 'sky')


def evaluated(kind: Any, *maps: tuple[Any, Any], **options: Any) -> dict[str, float]:
    """What a metric of three classes says of pairs (predicted, labelled)."""
    metric = kind(**options)
    metric.dataset_meta = dict(classes=CLASSES)
    for predicted, labelled in maps:
        sample = dict(
            pred_sem_seg=dict(data=torch.tensor(predicted)),
            gt_sem_seg=dict(data=torch.tensor(labelled)),
        )
        metric.process({}, [sample])
    found: dict[str, float] = metric.evaluate(len(maps))
    return found


def test_two_images_by_hand() -> None:
    found = evaluated(
        ClasswiseIoUMetric,
        # brick: 1 of 2 pixels, light: 1 of 3; then each once more
        ([[0, 1, 1]], [[0, 0, 1]]),
        ([[0, 1, 1]], [[0, 1, 255]]),  # the last pixel counts for nothing
    )
    assert found['IoU.brick'] == pytest.approx(100 * 2 / 3, abs=0.005)
    assert found['IoU.traffic light'] == pytest.approx(100 * 2 / 3, abs=0.005)
    assert found['mIoU'] == pytest.approx(100 * 2 / 3, abs=0.005)


def test_a_class_that_is_nowhere_has_no_entry() -> None:
    maps = ([[0, 1, 1]], [[0, 0, 1]])
    found = evaluated(ClasswiseIoUMetric, maps)
    assert 'IoU.sky' not in found
    assert all(math.isfinite(value) for value in found.values())
    assert evaluated(ClasswiseIoUMetric, maps, nan_to_num=0)['IoU.sky'] == 0


@pytest.mark.parametrize('means', [['mIoU'], 'mIoU', ['mDice', 'mIoU', 'mFscore']])
def test_all_else_is_exactly_the_hosts(means: Any) -> None:
    generator = np.random.default_rng(0)
    maps = [tuple(generator.integers(0, 3, (2, 9, 7))) for _ in range(4)]
    options = dict(iou_metrics=means)
    ours = evaluated(ClasswiseIoUMetric, *maps, **options)
    host = evaluated(IoUMetric, *maps, **options)
    assert {name: ours[name] for name in host} == host
    added = {name for name in ours if name not in host}
    measures = ['IoU'] if 'mIoU' in (means, means[0]) else ['Dice', 'IoU', 'Fscore']
    assert added == {f'{what}.{name}' for what in measures for name in CLASSES}
    for what in measures:
        mean = np.mean([ours[f'{what}.{name}'] for name in CLASSES])
        assert mean == pytest.approx(host[f'm{what}'], abs=0.01)  # of rounded values


def test_results_that_are_only_written_have_no_metrics(tmp_path: Path) -> None:
    metric = ClasswiseIoUMetric(format_only=True, output_dir=str(tmp_path))
    assert metric.compute_metrics([]) == {}


@pytest.mark.slow
@pytest.mark.usefixtures('warm_processes')
def test_without_mmsegmentation_the_package_is_there_without_its_metric() -> None:
    code = """
import sys
sys.modules['mmseg'] = None
import kd_plugins.evaluation.metrics
from kd_plugins import METRICS
METRICS.import_from_location()
assert set(METRICS.module_dict) == {'CalibrationMetric'}
"""
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)


def test_of_a_run_every_class_is_logged(
    tiny_mosaics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the shipped protocol: to the log, to TensorBoard, and as a test writes it."""
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))
    name = 'pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'
    cfg = Config.fromfile(CONFIGS / 'mosaics' / name)
    apply_overrides(cfg, read_protocol(CONFIGS / 'benchmarks/skd_mosaics.py').options)
    cfg.merge_from_dict(
        {
            'custom_hooks.0.train': 8,
            'custom_hooks.0.val': 4,
            'train_dataloader.batch_size': 2,
            'train_cfg.max_iters': 1,
            'train_cfg.val_interval': 1,
            'default_hooks.logger.interval': 1,
            'work_dir': str(tmp_path),
            'experiment_name': f'classwise_{tmp_path.name}',
            'visualizer.name': f'classwise_{tmp_path.name}',
            'log_level': 'WARNING',
        }
    )
    cfg.vis_backends.append(dict(type='TensorboardVisBackend'))
    cfg.visualizer.vis_backends = cfg.vis_backends
    runner = Runner.from_cfg(cfg)
    runner.train()
    log = read_training(tmp_path, 'mIoU')
    assert log is not None
    assert log.iterations == 1
    classes = [key for key in log.metrics if key.startswith('IoU.')]
    assert 4 <= len(classes) <= 13
    means = {'mIoU', 'mAcc', 'aAcc'}
    assert set(log.metrics) == {*classes, *means}
    ious = [log.metrics[key] for key in classes]
    assert np.mean(ious) == pytest.approx(log.metrics['mIoU'], abs=0.01)
    (written,) = tmp_path.rglob('events.out.tfevents.*')
    events = accumulator.EventAccumulator(str(written.parent)).Reload()
    for key in classes:
        (event,) = events.Scalars(key)
        assert event.value == pytest.approx(log.metrics[key])
    # By the host's test, of the same weights.
    runner.test()
    assert read_test(tmp_path, 'mIoU') == pytest.approx(log.metrics)
    (path,) = tmp_path.glob('*/*.json')
    strict = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert strict['mIoU'] == pytest.approx(log.metrics['mIoU'])
