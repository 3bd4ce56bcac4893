"""Images are spread over a data set, and those of the training are not augmented."""

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from kd_plugins.apis.doctor.data import training_images, validation_images
from kd_plugins.apis.doctor.finding import NotCheckedError

CONFIGS = Path(__file__).parents[3] / 'configs'


@pytest.fixture
def digits(tiny_digits: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_digits.parent))
    init_default_scope('mmdet')
    cfg = Config.fromfile(CONFIGS / '_base_/datasets/digits_detection.py')
    cfg.val_dataloader.batch_size = 1
    return cfg


def ids(loader: Any) -> list[int]:
    return [sample.img_id for batch in loader for sample in batch['data_samples']]


def test_images_are_spread_evenly(digits: Config, tmp_path: Path) -> None:
    every = validation_images(digits, 100, tmp_path)
    assert (every.number, every.total) == (4, 4)
    assert every.classes == tuple('0123456789')
    some = validation_images(digits, 2, tmp_path)
    assert (some.number, some.total) == (2, 4)
    known = ids(every.loader)
    assert ids(some.loader) == [known[0], known[2]]


def test_training_images_come_by_the_pipeline_of_the_validation(
    digits: Config, tmp_path: Path
) -> None:
    images = training_images(digits, 3, tmp_path)
    assert (images.number, images.total) == (3, 8)
    pipeline = [
        type(step).__name__
        for step in images.loader.dataset.dataset.pipeline.transforms
    ]
    assert 'PhotoMetricDistortion' not in pipeline
    first, again = (next(iter(images.loader))['inputs'][0] for _ in range(2))
    assert first.equal(again)


def test_they_are_scored_by_their_own_annotations(
    digits: Config, tiny_digits: Path, tmp_path: Path
) -> None:
    images = training_images(digits, 8, tmp_path)
    (metric,) = images.make_evaluator().metrics
    file = json.loads((tiny_digits / 'annotations/train.json').read_text())
    assert metric._coco_api.get_img_ids() == [image['id'] for image in file['images']]


def test_what_mixes_or_repeats_images_is_left_out(
    digits: Config, tmp_path: Path
) -> None:
    inner = digits.train_dataloader.dataset
    repeated = dict(type='RepeatDataset', times=3, dataset=inner)
    mixed = dict(type='MultiImageMixDataset', dataset=repeated, pipeline=[])
    digits.train_dataloader.dataset = mixed
    assert training_images(digits, 99, tmp_path).total == 8
    both = dict(type='ConcatDataset', datasets=[inner, inner])
    digits.train_dataloader.dataset = both
    with pytest.raises(NotCheckedError, match='no single annotation file for the Coco'):
        training_images(digits, 99, tmp_path)
    digits.val_evaluator = dict(type='VOCMetric', metric='mAP')
    assert training_images(digits, 99, tmp_path).total == 16


def test_an_evaluator_writes_into_the_folder_alone(
    digits: Config, tmp_path: Path
) -> None:
    digits.val_evaluator = [dict(digits.val_evaluator, outfile_prefix='run/results')]
    (metric,) = validation_images(digits, 1, tmp_path).make_evaluator().metrics
    assert metric.outfile_prefix == str(tmp_path / 'results')


@pytest.mark.parametrize('key', ['val_dataloader', 'val_evaluator'])
def test_without_validation_nothing_is_measured(
    digits: Config, tmp_path: Path, key: str
) -> None:
    digits[key] = None
    for images in (validation_images, training_images):
        with pytest.raises(NotCheckedError, match=f"the config has no '{key}'"):
            images(digits, 1, tmp_path)
