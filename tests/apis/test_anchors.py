"""A student's loss under each checkpoint of a route, and which comes next."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.apis.anchors import Hardness, measure_route
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.runs import run_config
from tests.distillers.tiny import config, faster_rcnn, hint, teacher_of
from tests.distillers.tiny_teachers import route, save_anchors
from tests.engine.hooks.toy import unformatted


def test_the_next_is_the_last_that_is_not_too_hard() -> None:
    hardness = Hardness(
        ('a.pth', 'b.pth', 'c.pth', 'd.pth'), (0.2, 0.25, 0.28, 0.5), 0, 1.5
    )
    assert hardness.next == 2
    text = str(hardness)
    assert [line.split() for line in text.splitlines()[1:]] == [
        ['0', 'a.pth', '0.2', '1.00', 'current'],
        ['1', 'b.pth', '0.25', '1.25'],
        ['2', 'c.pth', '0.28', '1.40', 'next'],
        ['3', 'd.pth', '0.5', '2.50'],
    ]


def measured(folder: Path, teacher: Any, student: Path, **options: Any) -> Hardness:
    pairs = dict(
        hint=hint(),
        roi=dict(view='roi.logits', loss=dict(type='KDLoss', loss_weight=0.0)),
    )
    cfg = run_config(
        config(pairs, teacher=teacher),
        folder / 'work',
        runner_type='kd_plugins.DistillRunner',
    )
    with unformatted():
        options = dict(current=0, threshold=2.0, batches=2) | options
        return measure_route(cfg, str(student), **options)


def test_a_student_is_measured_under_each_checkpoint(tmp_path: Path) -> None:
    """Of the last it is a copy: there, the loss is 0 but for its batch norms."""
    paths = save_anchors(tmp_path, 3)
    student = tmp_path / 'student.pth'
    torch.save(torch.load(paths[2], weights_only=True), student)
    hardness = measured(tmp_path, route(paths), student)
    assert hardness.checkpoints == tuple(paths)
    assert len(set(hardness.losses)) == 3
    assert hardness.losses[2] < min(hardness.losses[:2])
    other = measured(tmp_path, route(paths), student, pair='roi')
    assert other.losses != hardness.losses and min(other.losses) > 0


def test_a_distillation_without_a_route_is_refused(tmp_path: Path) -> None:
    student = tmp_path / 'student.pth'
    torch.save(MODELS.build(faster_rcnn()).state_dict(), student)
    with pytest.raises(ConfigError, match=r'^model\.pairs: no pair is taught by a tea'):
        measured(tmp_path, teacher_of(faster_rcnn()), student)
    anchors = route(save_anchors(tmp_path, 2))
    with pytest.raises(ConfigError, match=r'--current must be 0 to 1: the route has 2'):
        measured(tmp_path, anchors, student, current=2)
    with pytest.raises(ConfigError, match=r'--threshold must be .* > 1, got 1'):
        measured(tmp_path, anchors, student, threshold=1)
    with pytest.raises(ConfigError, match=r"no pair 'hnt' is taught .* Close: 'hint'"):
        measured(tmp_path, anchors, student, pair='hnt')
