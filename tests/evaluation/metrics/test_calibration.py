"""The calibration error of a host's predictions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.fidelity import expected_calibration_error
from kd_plugins.evaluation.metrics import CalibrationMetric
from tests.distillers.runs import train
from tests.distillers.tiny import faster_rcnn


def evaluated(*samples: dict[str, Any], **options: Any) -> dict[str, float]:
    metric = CalibrationMetric(**options)
    metric.dataset_meta = dict(classes=('a', 'b'))
    for sample in samples:
        metric.process({}, [sample])
    found: dict[str, float] = metric.evaluate(len(samples))
    return found


def segments(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    return dict(seg_logits=dict(data=logits), gt_sem_seg=dict(data=labels))


def detections(boxes: Any, labels: Any, scores: Any, truth: Any) -> dict[str, Any]:
    found = dict(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor(scores),
    )
    given = dict(
        bboxes=torch.tensor(truth).reshape(-1, 4),
        labels=torch.zeros(len(truth), dtype=torch.long),
    )
    return dict(pred_instances=found, gt_instances=given)


def test_pixels_by_hand() -> None:
    # 0.9 for the first class in three pixels: right, right, wrong; one is ignored.
    logits = torch.tensor([0.9, 0.1]).log().view(2, 1, 1).expand(2, 2, 2)
    labels = torch.tensor([[[0, 0], [1, 255]]])
    found = evaluated(segments(logits, labels))
    assert found == {'calibration/ece': pytest.approx(0.9 - 2 / 3, rel=1e-5)}


def test_several_images_are_one_set_of_pixels() -> None:
    samples, confidence, correct = [], [], []
    for side in (3, 8):
        logits, labels = torch.randn(4, side, 5), torch.randint(0, 4, (1, side, 5))
        samples.append(segments(logits, labels))
        highest, predicted = logits.softmax(0).max(0)
        confidence.append(highest.flatten())
        correct.append((predicted == labels[0]).flatten())
    expected = expected_calibration_error(
        torch.cat(confidence), torch.cat(correct), bins=15
    )
    found = evaluated(*samples, bins=15)
    assert found['calibration/ece'] == pytest.approx(expected.item())


def test_one_column_is_the_second_of_two_classes() -> None:
    logits = torch.tensor([[[0.8, 0.4]]])  # as the host gives it: probabilities
    found = evaluated(segments(logits, torch.tensor([[[1, 1]]])))
    assert found['calibration/ece'] == pytest.approx((0.2 + 0.6) / 2, rel=1e-5)


def test_boxes_by_hand() -> None:
    sample = detections(
        [[0.0, 0, 10, 10], [1.0, 0, 11, 10], [40.0, 0, 50, 10], [0.0, 0, 9, 9]],
        [0, 0, 1, 0],
        [0.9, 0.8, 0.7, 0.2],  # right, its annotation taken, of another label, too low
        [[0.0, 0, 10, 10], [40.0, 0, 50, 10]],
    )
    found = evaluated(sample)
    expected = (0.1 + 0.8 + 0.7) / 3
    assert found['calibration/ece'] == pytest.approx(expected, rel=1e-5)
    assert evaluated(sample, score_thr=0.95) == {}


def test_a_sample_without_what_is_needed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs seg_logits or .* got \['pred'\]"):
        evaluated(dict(pred=1))
    sample = detections([], [], [], [])
    del sample['gt_instances']
    with pytest.raises(ConfigError, match='needs annotations: add LoadAnnotations'):
        evaluated(sample)
    with pytest.raises(ConfigError, match='bins must be a whole number >= 1, got None'):
        CalibrationMetric(bins=None)  # type: ignore[arg-type]


@pytest.mark.host
def test_a_plain_detector_is_measured_too(tmp_path: Path) -> None:
    runner = train(
        faster_rcnn(),
        tmp_path,
        val_evaluator=dict(type='kd_plugins.CalibrationMetric', score_thr=0.05),
    )
    found = runner.message_hub.get_scalar('val/calibration/ece').current()
    assert 0 < found < 1
