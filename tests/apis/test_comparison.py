"""The picture of a README: which boxes are painted how, on which images."""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from PIL import Image

from kd_plugins.apis.comparison import Entry, choose_samples, make_picture, task_of
from kd_plugins.distillers.student import student_config
from kd_plugins.engine.opening import open_config
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.visualization.drawing import (
    COLOURS,
    MISSED,
    RIGHT,
    TRUTH,
    WRONG,
    Mark,
    Objects,
    mark_predictions,
    mark_truth,
    paint,
)
from kd_plugins.visualization.layout import arrange, save_png

CONFIGS = Path(__file__).parents[2] / 'configs'
BASELINE = CONFIGS / 'digits' / 'faster-rcnn_r18-w16_fpn_1k_digits-300.py'
TINY = {'custom_hooks.0.train': 8, 'custom_hooks.0.val': 4}
CLASSES = ('cat', 'dog')


def objects(*rows, scores=None) -> Objects:
    """Objects of (left, top, right, bottom, label)."""
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Objects(
        table[:, :4],
        table[:, 4].astype(int),
        None if scores is None else np.array(scores, dtype=float),
    )


def test_kinds_of_predictions():
    truth = objects((0, 0, 10, 10, 0), (20, 20, 30, 30, 1), (40, 0, 50, 10, 1))
    found = objects(
        (0, 0, 10, 9, 0),  # in its place
        (0, 0, 10, 10, 0),  # again: a double
        (20, 20, 30, 30, 0),  # another class
        (60, 60, 70, 70, 1),  # nothing there
        scores=[0.9, 0.8, 0.7, 0.6],
    )
    marks = mark_predictions(found, truth, CLASSES)
    assert [(mark.kind, mark.text) for mark in marks] == [
        (MISSED, ''),
        (MISSED, ''),
        (WRONG, 'dog 60'),
        (WRONG, 'cat 70'),
        (WRONG, 'cat 80'),
        (RIGHT, 'cat 90'),  # the surest is painted last, on top
    ]
    assert [mark.box[0] for mark in marks[:2]] == [20.0, 40.0]


def test_of_two_objects_the_nearer_is_taken():
    truth = objects((0, 0, 10, 10, 0), (0, 0, 10, 8, 0))
    found = objects((0, 0, 10, 8, 0), (0, 0, 10, 10, 0), scores=[0.9, 0.8])
    kinds = [mark.kind for mark in mark_predictions(found, truth, CLASSES)]
    assert kinds == [RIGHT, RIGHT]


def test_an_image_without_predictions_or_objects():
    nothing = objects(scores=[])
    assert mark_predictions(nothing, objects(), CLASSES) == []
    truth = objects((0, 0, 10, 10, 0))
    assert [mark.kind for mark in mark_predictions(nothing, truth, CLASSES)] == [MISSED]
    assert mark_truth(truth, CLASSES) == [Mark((0, 0, 10, 10), TRUTH, 'cat')]


def test_painting_enlarges_and_leaves_the_rest_alone():
    image = np.full((40, 60, 3), 7, dtype=np.uint8)
    marks = [Mark((10, 20, 30, 35), RIGHT, 'cat 90'), Mark((40, 5, 55, 30), MISSED)]
    painted = np.asarray(paint(image, marks, scale=3))
    assert painted.shape == (120, 180, 3)
    assert tuple(painted[60, 60]) == COLOURS[RIGHT]  # its upper edge
    assert tuple(painted[90, 60]) == (7, 7, 7)  # within
    assert tuple(painted[15, 120]) == COLOURS[MISSED]
    assert tuple(painted[15, 127]) == (7, 7, 7)  # dashed
    assert image.max() == 7


def test_texts_stay_inside_and_apart():
    """Two boxes at one place, at the upper edge: two texts, none over the other."""
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    marks = [
        Mark((1, 0, 25, 20), WRONG, 'dog 51'),
        Mark((1, 0, 25, 20), RIGHT, 'cat 90'),
    ]
    painted = np.asarray(paint(image, marks, scale=4))
    areas = {
        kind: (painted == COLOURS[kind]).all(axis=-1).sum() for kind in (RIGHT, WRONG)
    }
    assert min(areas.values()) > 400  # both texts have their whole ground


def test_grid_has_headers_and_a_legend():
    panel = Image.new('RGB', (50, 40), (1, 2, 3))
    grid = np.asarray(arrange([[panel] * 3] * 2, ['a', 'b', 'c'], {'right': (9, 8, 7)}))
    same = (grid == (1, 2, 3)).all(axis=-1)
    assert same.sum() == 6 * 50 * 40
    assert (grid == (9, 8, 7)).all(axis=-1).any()
    assert (grid[:20] < 100).any()  # headers in dark letters


def test_a_legend_takes_as_many_lines_as_it_needs():
    panel = Image.new('RGB', (200, 40), 'white')
    colours = {f'class number {number}': (9, number, 7) for number in range(5)}
    grid = np.asarray(arrange([[panel]], ['a'], colours))
    squares = [np.argwhere((grid == colour).all(-1)) for colour in colours.values()]
    assert all(len(square) == 13 * 13 for square in squares)  # none is cut off
    height = arrange([[panel]], ['a'], dict(list(colours.items())[:1])).height
    assert (
        len({square[0, 0] for square in squares}) == 1 + (grid.shape[0] - height) // 28
    )


def test_panels_of_several_sizes_are_all_whole():
    small, large = Image.new('RGB', (30, 60), 'red'), Image.new('RGB', (50, 40), 'blue')
    grid = np.asarray(arrange([[small, large]], ['a', 'b'], {}))
    for colour, area in (((255, 0, 0), 30 * 60), ((0, 0, 255), 50 * 40)):
        assert (grid == colour).all(-1).sum() == area


def test_colours_are_fewer_where_the_file_would_be_too_large(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    path = tmp_path / 'docs' / 'noise.png'
    whole = save_png(image, path, limit=10**6)
    assert (np.asarray(Image.open(path)) == noise).all()
    assert save_png(image, path, limit=whole // 2) <= whole // 2
    assert path.stat().st_size <= whole // 2
    with pytest.raises(ConfigError, match=r'more than 100\. Show fewer images'):
        save_png(image, path, limit=100)


@pytest.fixture
def checkpoint(tiny_digits, monkeypatch, tmp_path) -> str:
    """A random student's, as the distiller's own checkpoint holds it."""
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_digits.parent))
    cfg = open_config(BASELINE, TINY)
    model = MODELS.build(student_config(cfg).model)
    path = tmp_path / 'student.pth'
    state = {f'student.{name}': value for name, value in model.state_dict().items()}
    torch.save({'state_dict': state}, path)
    return str(path)


@pytest.mark.host
def test_picture_of_random_models(checkpoint, tmp_path):
    entries = [Entry('student', BASELINE, checkpoint)]
    out = tmp_path / 'picture.png'
    written, shown = make_picture(
        entries, out, number=2, least_objects=1, score=0.0, options=TINY
    )
    assert written == out
    assert [Path(path).name for path in shown] == ['00000.jpg', '00001.jpg']
    with Image.open(out) as picture:
        assert picture.width == 2 * (256 + 6) + 6
    assert out.stat().st_size <= 400_000


@pytest.mark.host
def test_command_line(checkpoint, tmp_path, capsys):
    # A config beside the data: of the size that they have.
    config = tmp_path / 'tiny.py'
    hook = "dict(type='kd_plugins.PrepareDataHook', dataset='digits', train=8, val=4, "
    root = Path(os.environ['KD_PLUGINS_DATA'], 'digits')
    config.write_text(
        f'_base_ = [{str(BASELINE)!r}]\ncustom_hooks = [{hook}root={str(root)!r})]\n'
    )
    pair = [str(config), checkpoint]
    out = tmp_path / 'docs' / 'picture.png'
    tool = runpy.run_path(str(CONFIGS.parent / 'tools' / 'picture.py'))
    models = ['--baseline', *pair, '--distilled', *pair, '--teacher', *pair]
    options = ['--out', str(out), '--number', '1', '--least-objects', '1']
    tool['main'](models + options)
    assert f'{out}: 00000.jpg' in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.width == 4 * (256 + 6) + 6


@pytest.mark.host
@pytest.mark.usefixtures('checkpoint')
def test_images_are_the_first_with_enough_objects():
    cfg = open_config(BASELINE, TINY)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    task = task_of(cfg, dataset, score=0.5)
    assert task.name == 'detection'
    samples = choose_samples(dataset, task, 2, least_objects=1)
    assert samples[0].image.shape == (128, 128, 3)
    assert samples[0].number == len(samples[0].truth.labels) >= 1
    with pytest.raises(ConfigError, match='only 0 with at least 9 objects'):
        choose_samples(dataset, task, 1, least_objects=9)
    cfg.test_dataloader.dataset.pipeline = [
        step
        for step in cfg.test_dataloader.dataset.pipeline
        if step['type'] != 'LoadAnnotations'
    ]
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    with pytest.raises(ConfigError, match="no 'LoadAnnotations'"):
        choose_samples(dataset, task, 1, least_objects=1)
