"""Samples of pseudo-labels, told apart from others, and their scores as weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.registry import TRANSFORMS
from tests.datasets.test_paired_inputs import DET, SEG, detections, segments


def built(pack: Any, **options: Any) -> Any:
    return TRANSFORMS.build(
        dict(type='kd_plugins.PackPseudoLabels', pack=pack, **options)
    )


@pytest.fixture
def scores(tmp_path: Path) -> str:
    """A file of two images, of which the second has one box."""
    annotations = [dict(image_id=7, bbox=[4, 6, 16, 24], score=0.75)]
    content = dict(images=[dict(id=3), dict(id=7)], annotations=annotations)
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    return str(tmp_path / 'boxes.json')


@pytest.mark.parametrize(
    ('pack', 'sample'), [(SEG, segments), (DET, detections)], ids=['maps', 'boxes']
)
def test_only_the_metainfo_tells_them_apart(pack: Any, sample: Any) -> None:
    one = built(pack)(sample())['data_samples']
    other = TRANSFORMS.build(pack)(sample())['data_samples']
    assert one.metainfo['pseudo_label'] is True
    assert 'pseudo_label' not in other.metainfo
    assert one.keys() == other.keys()


def test_scores_are_the_weights_of_the_boxes(scores: str) -> None:
    packed = built(DET, scores=scores)({**detections(), 'img_id': 7})
    boxes = packed['data_samples'].gt_instances
    assert torch.equal(boxes.weights, torch.tensor([0.75]))
    assert len(boxes) == 1


def test_a_dropped_box_would_give_another_its_score(scores: str) -> None:
    sample = {**detections(), 'img_id': 7, 'img_path': 'seven.jpg'}
    for key in ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags'):
        sample[key] = sample[key][np.array([], int)]
    with pytest.raises(ConfigError, match=r"'seven.jpg' has 0 boxes left, and 1 s"):
        built(DET, scores=scores)(sample)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'PackPseudoLabels.pack: must be a transf'):
        built('PackDetInputs')
    with pytest.raises(ConfigError, match=r'PackPseudoLabels.scores: .*nowhere'):
        built(DET, scores='nowhere.json')
    without = dict(images=[dict(id=1)], annotations=[dict(image_id=1)])
    (tmp_path / 'a.json').write_text(json.dumps(without))
    with pytest.raises(ConfigError, match=r"has no score for each box.*'score'"):
        built(DET, scores=str(tmp_path / 'a.json'))
