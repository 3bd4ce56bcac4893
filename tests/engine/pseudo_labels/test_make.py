"""A folder of images, labelled by the embedded teachers."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.registry import DefaultScope
from torch.testing import assert_close

from kd_plugins.config_files import read_config
from kd_plugins.engine.pseudo_labels import (
    PseudoLabelOptions,
    make_pseudo_labels,
    read_soft_labels,
)
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.random_stream import get_random_state
from kd_plugins.registry import MODELS
from kd_plugins.teachers.checkpoints import load_strictly, load_weights

DIGITS, MOSAICS = (
    {'cfg': f'kd_plugins::{name}.py', 'checkpoint': f'kd_plugins::{name}.safetensors'}
    for name in (
        'digits/faster-rcnn_r18-w32_fpn_4k_digits',
        'mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128',
    )
)

STAGED = 'kd_plugins::takd/takd-w24_frcnn-w32_frcnn-w16_2k_digits-300.py'


def make(images: Path, out: Path, teachers: Any, **options: Any) -> Any:
    without = options.pop('without', None)
    return make_pseudo_labels(
        images,
        out,
        teachers,
        without=without,
        options=PseudoLabelOptions(batch_size=2, **options),
        progress=False,
    )


@pytest.fixture(scope='module')
def boxes(tiny_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of four images, by one detector."""
    out = tmp_path_factory.mktemp('labels') / 'boxes'
    make(tiny_digits / 'val', out, DIGITS)
    return out


@pytest.fixture(scope='module')
def maps(tiny_mosaics: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of four images, by one segmentor that sees them flipped as well."""
    out = tmp_path_factory.mktemp('labels') / 'maps'
    make(tiny_mosaics / 'images' / 'val', out, MOSAICS, augment=True, threshold=0.7)
    return out


def model_of(teacher: dict[str, str], scope: str) -> Any:
    """The plain model of the host."""
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(read_config(teacher['cfg']).model)
    weights = load_weights(teacher['checkpoint'])
    load_strictly(model, weights, 'checkpoint')
    return model.eval()


def content(folder: Path) -> dict[str, bytes]:
    """All files, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_boxes_are_what_the_detector_predicts(boxes: Path, tiny_digits: Path) -> None:
    from mmdet.structures import DetDataSample

    labels = json.loads((boxes / 'boxes.json').read_text())
    assert [each['file_name'] for each in labels['images']] == [
        f'0000{number}.jpg' for number in range(4)
    ]
    assert [each['name'] for each in labels['categories']] == list('0123456789')
    image = cv2.imread(str(tiny_digits / 'val' / '00001.jpg')).transpose(2, 0, 1)
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(128, 128), ori_shape=(128, 128), scale_factor=(1.0, 1.0)
        )
    )
    batch = dict(inputs=[torch.from_numpy(image.copy())], data_samples=[sample])
    with torch.no_grad():
        found = model_of(DIGITS, 'mmdet').test_step(batch)[0].pred_instances
    found = found[found.scores >= 0.5]
    own = [each for each in labels['annotations'] if each['image_id'] == 1]
    assert len(own) == len(found) > 0
    assert [each['category_id'] for each in own] == found.labels.tolist()
    scores = torch.tensor([each['score'] for each in own])
    assert_close(scores, found.scores, rtol=0, atol=1e-4)
    corners = torch.tensor([each['bbox'] for each in own])
    corners[:, 2:] += corners[:, :2]
    assert_close(corners, found.bboxes.clamp(0, 128), rtol=0, atol=0.02)


def test_the_host_reads_every_box(boxes: Path, tiny_digits: Path) -> None:
    dataset = CocoDataset(
        ann_file=str(boxes / 'boxes.json'),
        data_prefix=dict(img=str(tiny_digits / 'val')),
        metainfo=dict(classes=tuple('0123456789')),
        pipeline=[],
    )
    read = [len(dataset.get_data_info(at)['instances']) for at in range(len(dataset))]
    labels = json.loads((boxes / 'boxes.json').read_text())
    assert sum(read) == len(labels['annotations']) > 4
    record = json.loads((boxes / 'pseudo_labels.json').read_text())
    assert record['result']['boxes'] == sum(read)
    assert record['made_by']['threshold'] == 0.5
    assert sorted(content(boxes)) == ['boxes.json', 'pseudo_labels.json']


@pytest.mark.parametrize('fusion', ['wbf', 'nms'])
def test_two_teachers_that_agree_are_as_one(
    fusion: str, boxes: Path, tiny_digits: Path, tmp_path: Path
) -> None:
    make(tiny_digits / 'val', tmp_path / 'two', [DIGITS, DIGITS], fusion=fusion)
    one, two = (
        json.loads((folder / 'boxes.json').read_text())['annotations']
        for folder in (boxes, tmp_path / 'two')
    )
    for own, other in zip(one, two, strict=True):
        assert_close(own.pop('bbox'), other.pop('bbox'), rtol=0, atol=0.011)
        assert own.pop('area') == pytest.approx(other.pop('area'), rel=1e-3)
        assert own.pop('score') == pytest.approx(other.pop('score'), abs=1e-4)
        assert own == other


def test_maps_are_the_mean_of_both_flips(maps: Path, tiny_mosaics: Path) -> None:
    image = cv2.imread(str(tiny_mosaics / 'images' / 'val' / '00002.jpg'))
    model = model_of(MOSAICS, 'mmseg')
    probs = []
    for view in (image, image[:, ::-1]):
        inputs = [torch.from_numpy(view.transpose(2, 0, 1).copy())]
        with torch.no_grad():
            data = model.data_preprocessor(dict(inputs=inputs, data_samples=None))
            logits = model(data['inputs'], mode='tensor')
        logits = torch.nn.functional.interpolate(
            logits, (128, 128), mode='bilinear', align_corners=False
        )
        probs.append(logits[0].softmax(dim=0))
    mean = (probs[0] + probs[1].flip(-1)) / 2
    expected = mean.argmax(dim=0)
    expected[mean.amax(dim=0) < 0.7] = 255
    found = cv2.imread(str(maps / 'labels' / '00002.png'), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint8
    same = (torch.from_numpy(found) == expected).float().mean().item()
    assert same > 0.999  # but for pixels at the threshold
    assert 0.05 < (expected == 255).float().mean().item() < 0.95
    assert (maps / 'images.txt').read_text().split() == [
        f'0000{number}' for number in range(4)
    ]


def test_soft_labels_hold_the_classes_of_the_maps(
    tiny_mosaics: Path, tmp_path: Path
) -> None:
    images = tiny_mosaics / 'images' / 'val'
    made = make(images, tmp_path / 'soft', MOSAICS, top_k=3)
    make(images, tmp_path / 'hard', MOSAICS, threshold=0.0)
    assert made.images == 4
    for number in range(4):
        probs = read_soft_labels(tmp_path / f'soft/soft/0000{number}.npz', 13)
        hard = cv2.imread(str(tmp_path / f'hard/labels/0000{number}.png'), 0)
        assert_close(probs.sum(0), torch.ones(128, 128), rtol=0, atol=2e-3)
        assert (probs.argmax(0).numpy() == hard).mean() > 0.999


def test_nothing_is_made_twice_and_no_random_state_changes(
    boxes: Path, tiny_digits: Path
) -> None:
    before, state = content(boxes), get_random_state()
    with mock.patch('kd_plugins.engine.pseudo_labels.make._label') as label:
        made = make(tiny_digits / 'val', boxes, DIGITS)
    assert not label.called and made.before
    assert content(boxes) == before
    after = get_random_state()
    assert torch.equal(state['torch'], after['torch'])
    assert state['python'] == after['python']


def lives(act: Callable[[], Any], moment: int) -> bool:
    """Do it in a process of its own that dies at a moment; whether it lived."""
    child = os.fork()
    if child == 0:
        count = 0
        replace, fsync = os.replace, os.fsync

        def around(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                nonlocal count
                for before in (True, False):
                    count += 1
                    if count == moment:
                        os.kill(os.getpid(), signal.SIGKILL)
                    if before:
                        result = function(*args)
                return result

            return call

        os.replace, os.fsync = around(replace), around(fsync)
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == 0


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_files(
    boxes: Path, maps: Path, tiny_digits: Path, tiny_mosaics: Path, tmp_path: Path
) -> None:
    def detect() -> None:
        make(tiny_digits / 'val', tmp_path / 'boxes', DIGITS)

    def segment() -> None:
        images = tiny_mosaics / 'images' / 'val'
        make(images, tmp_path / 'maps', MOSAICS, augment=True, threshold=0.7)

    for act, whole, step in ((detect, boxes, 5), (segment, maps, 9)):
        left, kills = tmp_path / whole.name, 0
        # The moment moves on, through all that a life does.
        while not lives(act, 3 + step * kills):
            kills += 1
            for name, part in content(left).items():
                ending = name.rpartition('.')[2]
                if ending == 'json':  # what has its name is whole
                    json.loads(part)
                elif ending != 'part':
                    assert part == content(whole)[name]
        assert kills >= 3
        assert content(left) == content(whole)


def test_labels_made_otherwise_are_not_mixed(
    boxes: Path, tiny_digits: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r'otherwise: threshold was 0.5, now 0.6. N'):
        make(tiny_digits / 'val', boxes, DIGITS, threshold=0.6)
    (tmp_path / 'mine.txt').write_text('')
    with pytest.raises(ConfigError, match=r'out: .* holds no pseudo-labels'):
        make(tiny_digits / 'val', tmp_path, DIGITS)


def test_a_broken_image_is_named(tiny_digits: Path, tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'a.jpg').write_bytes(b'no image')
    with pytest.raises(ConfigError, match=r"a\.jpg' cannot be read as an image"):
        make(tmp_path / 'images', tmp_path / 'out', DIGITS)


@pytest.mark.parametrize(
    ('teachers', 'message'),
    [
        ([], r'teachers: must be dict\(cfg=\.\.\., checkpoint=\.\.\.\), or a list'),
        (dict(cfg='a.py'), r"teachers\[0\]: must be dict\(cfg='<config>', check"),
        ({**DIGITS, 'fast': True}, r'teachers\[0\]: must be dict'),
        ({**DIGITS, 'cfg': 'no.py'}, r"teachers\[0\].cfg: there is no config 'no.py'"),
        ([DIGITS, MOSAICS], r'teachers\[1\]: labels other things than the first'),
        (
            {**DIGITS, 'cfg': STAGED},
            r'cfg: .* has several stages',
        ),
    ],
)
def test_wrong_teachers(
    teachers: Any, message: str, tiny_digits: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(tiny_digits / 'val', tmp_path / 'out', teachers)
    assert not (tmp_path / 'out').exists()


def test_a_checkpoint_that_is_not_there(tiny_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'teachers\[0\].checkpoint: there is no'):
        make(tiny_digits / 'val', tmp_path, {**DIGITS, 'checkpoint': 'no.pth'})


def test_soft_labels_are_of_pixels(tiny_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='top_k is of segmentors'):
        make(tiny_digits / 'val', tmp_path / 'out', DIGITS, top_k=2)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(threshold=-1), 'threshold must be a finite number >= 0'),
        (dict(threshold=1.5), 'threshold must be at most 1, got 1.5'),
        (dict(fusion='mean'), "fusion must be 'wbf' or 'nms', got 'mean'"),
        (dict(top_k=0), 'top_k must be a whole number >= 1'),
        (dict(augment='yes'), "augment must be True or False, got 'yes'"),
        (dict(batch_size=0, iou_threshold=2), 'iou_threshold must be .*\nbatch_size'),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PseudoLabelOptions(**options)
