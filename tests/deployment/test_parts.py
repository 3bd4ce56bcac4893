"""What an exporter cannot follow is written anew: it gives what the hosts give."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmcv.ops import batched_nms
from mmengine.structures import BaseDataElement, InstanceData
from torch import nn
from torch.testing import assert_close

from kd_plugins.deployment.boxes import Candidates, best, nms_of
from kd_plugins.deployment.compare import (
    Tolerances,
    _of_boxes,
    _of_maps,
    matched,
)
from kd_plugins.deployment.images import as_input, cut, fitted, pad_pixel
from kd_plugins.deployment.metadata import KEY, Metadata, metadata_of
from kd_plugins.deployment.preprocessing import Preprocessing, input_format
from kd_plugins.deployment.segmentor import AveragePool
from kd_plugins.errors import ConfigError


@pytest.mark.parametrize('size', [1, 2, 3, 6, (2, 5), (None, 3)], ids=str)
@pytest.mark.parametrize('map_size', [(16, 16), (7, 5), (6, 12)], ids=str)
def test_pools_are_those_of_torch(size: Any, map_size: tuple[int, int]) -> None:
    pool = nn.AdaptiveAvgPool2d(size)
    feature = torch.randn(2, 3, *map_size)
    assert_close(AveragePool(pool)(feature), pool(feature))


def random_boxes(number: int) -> Candidates:
    corner = torch.rand(number, 2) * 60
    boxes = torch.cat([corner, corner + torch.rand(number, 2) * 30 - 1], dim=1)
    labels = torch.randint(0, 3, (number,))
    return Candidates(boxes, torch.rand(number), labels, torch.rand(number) > 0.3)


@pytest.mark.parametrize('agnostic', [False, True])
@pytest.mark.parametrize('min_size', [-1, 0, 4])
def test_suppression_is_that_of_mmcv(agnostic: bool, min_size: int) -> None:
    cfg = {
        'nms': {'type': 'nms', 'iou_threshold': 0.4, 'class_agnostic': agnostic},
        'min_bbox_size': min_size,
        'max_per_img': 50,
    }
    candidates = random_boxes(120)
    boxes, scores, labels = nms_of(cfg, 'test_cfg')(candidates)
    sides = candidates.boxes[:, 2:] - candidates.boxes[:, :2]
    large = (sides > min_size).all(dim=1) if min_size >= 0 else torch.ones(120).bool()
    rows = (candidates.valid & large).nonzero().flatten()
    host, kept = batched_nms(
        candidates.boxes[rows],
        candidates.scores[rows],
        candidates.labels[rows],
        cfg['nms'],
    )
    number = min(len(kept), 50)
    assert number > 10
    assert torch.equal(boxes[:number], host[:number, :4])
    assert torch.equal(scores[:number], host[:number, 4])
    assert torch.equal(labels[:number], candidates.labels[rows][kept][:number])
    assert (labels[number:] == -1).all()
    assert not boxes[number:].any() and not scores[number:].any()


def test_without_a_candidate_every_place_is_empty() -> None:
    cfg = {'nms': {'type': 'nms', 'iou_threshold': 0.4}, 'max_per_img': 5}
    candidates = random_boxes(4)._replace(valid=torch.zeros(4, dtype=torch.bool))
    boxes, scores, labels = nms_of(cfg, 'test_cfg')(candidates)
    assert boxes.shape == (5, 4) and not boxes.any() and not scores.any()
    assert labels.tolist() == [-1] * 5


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            {'nms': {'type': 'soft_nms', 'iou_threshold': 0.5}, 'max_per_img': 9},
            r"test_cfg.nms: ONNX has suppression by 'nms' .*soft_nms.* --dense",
        ),
        (
            {'nms': {'type': 'nms', 'iou_threshold': 0.5}},
            r'test_cfg.max_per_img: .* expected one > 0, got -1',
        ),
    ],
)
def test_other_suppression_is_refused(cfg: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nms_of(cfg, 'test_cfg')


def test_the_best_scores() -> None:
    scores = torch.tensor([0.2, 0.9, 0.5])
    for most, places in ((2, [1, 2]), (7, [1, 2, 0]), (-1, [0, 1, 2])):
        values, rows = best(scores, most)
        assert rows.tolist() == places
        assert torch.equal(values, scores[rows])


def described(**changes: Any) -> Metadata:
    content = {
        'task': 'detection',
        'model': 'FasterRCNN',
        'classes': ['a'],
        'colour_order': 'RGB',
        'mean': [10.0, 20.0, 30.0],
        'std': [2.0, 4.0, 5.0],
        'size_divisor': 32,
        'pad_value': 0.0,
        'size': [6, 8],
        'batch_size': 1,
        'score_threshold': 0.05,
        'version': '0',
        'torch': '2',
    }
    return Metadata(**{**content, **changes})


class Sample(SimpleNamespace):
    def set_metainfo(self, content: dict[str, Any]) -> None:
        self.metainfo = {**self.metainfo, **content}


def test_a_smaller_image_is_padded_by_what_the_network_sees_as_padding() -> None:
    metadata = described(pad_value=1.0)
    assert pad_pixel(metadata).tolist() == [12.0, 24.0, 35.0]  # by hand, RGB
    sample = Sample(metainfo={'img_shape': (4, 8)})
    image = torch.full((3, 4, 8), 7, dtype=torch.uint8)
    padded = fitted(image, sample, metadata)
    assert padded.shape == (3, 6, 8)
    assert (padded[:, :4] == 7).all()
    assert padded[:, 5, 0].tolist() == [35.0, 24.0, 12.0]  # as loaded: BGR
    assert sample.metainfo['img_shape'] == (6, 8)
    batch = as_input([padded], metadata)
    assert batch[0, :, 5, 0].tolist() == [12.0, 24.0, 35.0]


@pytest.mark.parametrize(
    ('task', 'shape', 'message'),
    [
        ('detection', (3, 6, 9), r'6x9, a larger size than the .* 6x8. Export with'),
        ('segmentation', (3, 4, 8), r'4x8, another size than the .* 6x8. Export with'),
    ],
)
def test_an_image_that_does_not_fit_is_refused(
    task: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fitted(torch.zeros(shape), Sample(metainfo={}), described(task=task))


def test_another_size_to_try() -> None:
    item = {'inputs': torch.zeros(3, 128, 200), 'data_samples': Sample(metainfo={})}
    part = cut(item)
    assert part['inputs'].shape == (3, 96, 128)
    assert part['data_samples'].metainfo['img_shape'] == (96, 128)
    assert item['data_samples'].metainfo == {}


def test_a_description_is_read_back() -> None:
    metadata = described(size=None)
    assert metadata_of({KEY: metadata.text()}, 'x.onnx').size is None
    with pytest.raises(ConfigError, match=r"'x.onnx' says nothing of its input"):
        metadata_of({}, 'x.onnx')
    with pytest.raises(ConfigError, match=r'by kd_plugins None, and its .*Export it'):
        metadata_of({KEY: '{}'}, 'x.onnx')


@pytest.mark.host
@pytest.mark.parametrize('size', [(60, 70), (64, 96)])
@pytest.mark.parametrize('host', ['mmdet', 'mmseg'])
def test_preprocessing_is_the_hosts(host: str, size: tuple[int, int]) -> None:
    from mmdet.models.data_preprocessors import DetDataPreprocessor
    from mmseg.models import SegDataPreProcessor

    common = {'mean': [10, 20, 30], 'std': [2, 3, 4], 'bgr_to_rgb': True}
    preprocessor: Any = (
        DetDataPreprocessor(**common, pad_size_divisor=32, pad_value=2)
        if host == 'mmdet'
        else SegDataPreProcessor(
            **common, size=(512, 512), pad_val=2, test_cfg={'size_divisor': 32}
        )
    )
    image = torch.randint(0, 256, (3, *size)).to(torch.uint8)
    batch = {'inputs': [image], 'data_samples': [BaseDataElement()]}
    expected = preprocessor(batch)['inputs']
    graph = Preprocessing(preprocessor, dynamic=False)
    assert torch.equal(graph(image[None].flip(1).float()), expected)
    said = input_format(preprocessor)
    assert (said.colour_order, said.size_divisor, said.pad_value) == ('RGB', 32, 2)


def predicted(rows: list[tuple[list[float], float, int]]) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor([row[0] for row in rows]).view(-1, 4),
        scores=torch.tensor([row[1] for row in rows]),
        labels=torch.tensor([row[2] for row in rows], dtype=torch.long),
    )


A, B, C = [0.0, 0, 10, 10], [0.0, 0, 10, 10.5], [50.0, 50, 60, 60]


def test_boxes_are_paired_by_label_and_distance() -> None:
    host = predicted([(A, 0.9, 0), (B, 0.8, 0), (C, 0.7, 1)])
    file = predicted([(C, 0.7, 0), (B, 0.8, 0), ([0.1, 0, 10, 10], 0.9, 0)])
    assert matched(host, file) == [(0, 2), (1, 1)]  # C has another label
    assert matched(host, predicted([])) == []


def test_differences_by_hand() -> None:
    host = predicted([(A, 0.9, 0), (C, 0.7, 1)])
    file = predicted([([0.25, 0, 10, 10], 0.5, 0), (A, 0.7, 1)])
    pairs: Any = [(Sample(pred_instances=host), Sample(pred_instances=file))]
    box, score, alone = _of_boxes(pairs, Tolerances())
    assert (box.value, box.compared, box.passes) == (0.25, 1, False)
    assert score.value == pytest.approx(0.4)
    assert (alone.value, alone.compared) == (0.5, 4)
    nothing: Any = Sample(pred_instances=predicted([]))
    with pytest.raises(ConfigError, match=r'has a box on 1 images: .*--check 100'):
        _of_boxes([(nothing, nothing)], Tolerances())


def test_differences_of_maps_by_hand() -> None:
    def sample(logits: list[list[float]]) -> Any:
        tensor = torch.tensor(logits)[:, None]  # (K, 1, W)
        return Sample(
            seg_logits=Sample(data=tensor),
            pred_sem_seg=Sample(data=tensor.argmax(dim=0, keepdim=True)),
        )

    host, file = (
        sample([[4.0, 1, 0, 0], [0, 2, 1, 1]]),
        sample([[4.0, 3, 0, 0], [0, 2, 1, 1]]),
    )
    logits, pixels = _of_maps([(host, file)], Tolerances())
    assert (logits.value, logits.compared) == (0.5, 8)
    assert (pixels.value, pixels.compared, pixels.passes) == (0.25, 4, False)
