"""The picture of segmentors: which pixels have which colour, on which images."""

import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from PIL import Image

from kd_plugins.apis.comparison import choose_samples, task_of
from kd_plugins.distillers.student import student_config
from kd_plugins.engine.opening import open_config
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.visualization.drawing import caption
from kd_plugins.visualization.panels import Sample
from kd_plugins.visualization.segmentation import SegmentationTask, share_right

CONFIGS = Path(__file__).parents[2] / 'configs'
BASELINE = CONFIGS / 'mosaics' / 'pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'
TINY = {'custom_hooks.0.train': 8, 'custom_hooks.0.val': 4}
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
CLASSES = SimpleNamespace(
    metainfo=dict(classes=('cat', 'dog', 'cow'), palette=[RED, GREEN, BLUE])
)


def sample(truth: list[list[int]], side: int = 2) -> Sample:
    times = side // len(truth)
    labels = np.array(truth).repeat(times, 0).repeat(times, 1)
    return Sample(np.full((side, side, 3), 7, np.uint8), labels, 2, {})


def result(labels: list[list[int]]) -> SimpleNamespace:
    data = torch.tensor(labels)[None]
    return SimpleNamespace(pred_sem_seg=SimpleNamespace(data=data))


def test_panels_have_the_colours_of_the_data_set():
    task = SegmentationTask(CLASSES)
    columns = task.truth([sample([[0, 1], [0, 255]])])
    assert list(columns) == ['image', 'ground truth']
    image, truth = (np.asarray(panels[0]) for panels in columns.values())
    assert image.shape == truth.shape == (256, 256, 3)
    assert (image == 7).all()
    assert (truth[:128, :128] == RED).all()  # sharp to the last pixel
    assert (truth[:128, 128:] == GREEN).all()
    assert tuple(truth[-1, -1]) not in (RED, GREEN, BLUE)
    assert list(task.legend()) == ['cat', 'dog', 'not labelled']
    # The legend grows with what is predicted.
    (panel,) = task.predicted([sample([[0, 1], [0, 255]])], [result([[2, 1], [0, 0]])])
    assert (np.asarray(panel)[:128, :128] == BLUE).all()
    assert list(task.legend()) == ['cat', 'dog', 'cow', 'not labelled']
    assert task.legend()['cow'] == BLUE


def test_images_larger_than_a_panel_shrink():
    task = SegmentationTask(CLASSES)
    columns = task.truth([sample([[0, 1, 2]] * 3, side=999)])
    assert {panels[0].size for panels in columns.values()} == {(256, 256)}
    truth = np.asarray(columns['ground truth'][0])
    found = np.unique(truth.reshape(-1, 3), axis=0)
    assert {tuple(int(value) for value in one) for one in found} == {RED, GREEN, BLUE}


def test_share_of_pixels_is_of_labelled_ones():
    truth = np.array([[0, 1, 1, 255]])
    assert share_right(np.array([[0, 1, 0, 0]]), truth, 3) == pytest.approx(2 / 3)
    assert share_right(np.array([[0]]), np.array([[255]]), 3) == 1.0


def test_a_caption_tells_the_share(monkeypatch):
    texts = []
    monkeypatch.setattr(
        'kd_plugins.visualization.segmentation.caption',
        lambda panel, text: texts.append(text) or panel,
    )
    task, truth = SegmentationTask(CLASSES), sample([[0, 1], [0, 255]])
    task.predicted([truth], [result([[0, 1], [1, 0]])])
    assert texts == ['67 % of pixels right']


def test_a_caption_needs_room():
    panel = Image.new('RGB', (100, 60), RED)
    captioned = np.asarray(caption(panel, '87 %'))
    assert (captioned[:40] == RED).all()
    assert not (captioned[45:] == RED).all()
    assert np.asarray(panel).min(axis=(0, 1)).tolist() == list(RED)  # itself unchanged
    assert (np.asarray(caption(panel, 'far too long for such a panel')) == RED).all()


@pytest.fixture
def data(tiny_mosaics, monkeypatch) -> None:
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))


@pytest.mark.host
@pytest.mark.usefixtures('data')
def test_images_are_the_first_with_enough_classes():
    cfg = open_config(BASELINE, TINY)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    task = task_of(cfg, dataset, score=0.5)
    assert task.name == 'segmentation'
    samples = choose_samples(dataset, task, 1, least_objects=3)
    assert samples[0].image.shape == (128, 128, 3)
    assert samples[0].number == len(np.unique(samples[0].truth)) >= 3
    with pytest.raises(ConfigError, match='only 0 with at least 9 classes'):
        choose_samples(dataset, task, 1, least_objects=9)
    cfg.test_dataloader.dataset.pipeline.pop(1)
    with pytest.raises(ConfigError, match='gives no label maps'):
        choose_samples(DATASETS.build(cfg.test_dataloader.dataset), task, 1, 1)


@pytest.mark.host
@pytest.mark.usefixtures('data')
def test_command_line(tmp_path, capsys, monkeypatch):
    """Of random models, the distilled one given as its distillation."""
    model = MODELS.build(student_config(open_config(BASELINE, TINY)).model)
    state = {f'student.{name}': value for name, value in model.state_dict().items()}
    checkpoint = str(tmp_path / 'student.pth')
    torch.save({'state_dict': state}, checkpoint)
    hook = "dict(type='kd_plugins.PrepareDataHook', dataset='mosaics', train=8, val=4, "
    root = Path(os.environ['KD_PLUGINS_DATA'], 'mosaics')
    pairs = {}
    for base in (BASELINE, CONFIGS / 'seg_skd.py'):
        config = tmp_path / base.name
        config.write_text(
            f'_base_ = [{str(base)!r}]\ncustom_hooks = [{hook}root={str(root)!r})]\n'
        )
        pairs[base] = [str(config), checkpoint]
    plain, distilled = pairs.values()
    monkeypatch.chdir(tmp_path)
    tool = runpy.run_path(str(CONFIGS.parent / 'tools' / 'picture.py'))
    models = ['--baseline', *plain, '--distilled', *distilled, '--teacher', *plain]
    tool['main']([*models, '--number', '2', '--least-objects', '2'])
    out = Path('docs', 'segmentation.png')
    assert f'{out}: 00000.jpg, 00001.jpg' in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.width == 5 * (256 + 6) + 6
    assert out.stat().st_size <= 400_000
