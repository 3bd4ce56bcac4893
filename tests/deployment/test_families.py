"""Models of the hosts as ONNX files: random weights, ten images, one file each."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from torch import Tensor, nn

from kd_plugins.apis.export import build_plain
from kd_plugins.apis.export_onnx import export_model
from kd_plugins.config_files import read_config
from kd_plugins.errors import ConfigError

pytestmark = [pytest.mark.host, pytest.mark.slow]


@DATASETS.register_module()
class CloudyImages:
    """Clouds of three sizes in random colours, and their data samples.

    Args:
        scope: of the host.
        number: of images.
        size: height and width.
    """

    def __init__(self, scope: str, number: int, size: tuple[int, int]) -> None:
        self.scope, self.number, self.size = scope, number, size

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        image = torch.zeros(1, 3, *self.size)
        for cells in (3, 9, 40):
            cloud = torch.randn(1, 3, cells, cells, generator=generator)
            image += F.interpolate(cloud, size=self.size, mode='bilinear')
        meta = {
            'img_shape': self.size,
            'ori_shape': self.size,
            'scale_factor': (1.0, 1.0),
            'img_id': index,
        }
        if self.scope == 'mmdet':
            from mmdet.structures import DetDataSample as Sample
        else:
            from mmseg.structures import SegDataSample as Sample
        pixels = (image[0] * 45 + 120).clamp(0, 255).byte()
        return {'inputs': pixels, 'data_samples': Sample(metainfo=meta)}


def alive(model: Any, batch: dict[str, Any]) -> None:
    """Give random weights the scale of trained ones: batch norms that fit the data."""
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        model.test_step(copy.deepcopy(batch))
    model.eval()


def spread(layer: nn.Module, inputs: list[Tensor], std: float, mean: float) -> None:
    """Scale a layer so that what it says of these inputs is spread so far."""
    with torch.no_grad():
        said = torch.cat([layer(item).flatten() for item in inputs])
        layer.weight *= std / said.std()
        said = torch.cat([layer(item).flatten() for item in inputs])
        layer.bias += mean - said.mean()


def spread_of(
    model: Any, layers: dict[str, tuple[float, float]], batch: dict[str, Any]
) -> None:
    """Likewise for layers by name, in the order in which they run."""
    for name, (std, mean) in layers.items():
        layer = model.get_submodule(name)
        seen: list[Tensor] = []
        handle = layer.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(args[0])
        )
        with torch.no_grad():
            model.test_step(copy.deepcopy(batch))
        handle.remove()
        spread(layer, seen, std, mean)


# Config -> layers whose outputs are spread, (standard deviation, mean).
FAMILIES: dict[str, dict[str, tuple[float, float]]] = {
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py': {
        'rpn_head.rpn_cls': (2.0, 0.0),
        'rpn_head.rpn_reg': (0.3, 0.0),
        'roi_head.bbox_head.fc_cls': (2.0, 0.0),
        'roi_head.bbox_head.fc_reg': (0.5, 0.0),
    },
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py': {
        'bbox_head.retina_cls': (1.5, -4.0),
        'bbox_head.retina_reg': (0.3, 0.0),
    },
    'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py': {
        f'bbox_head.rtm_cls.{level}': (1.5, -4.0) for level in range(3)
    }
    | {f'bbox_head.rtm_reg.{level}': (0.5, 1.0) for level in range(3)},
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py': {
        'bbox_head.gfl_cls': (1.5, -4.0),
        'bbox_head.gfl_reg': (1.0, 0.0),
    },
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py': {
        'bbox_head.conv_cls': (1.5, -4.0),
        'bbox_head.conv_centerness': (1.0, 0.0),
    },
    'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py': {
        'decode_head.conv_seg': (2.0, 0.0)
    },
    'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py': {
        'decode_head.conv_seg': (2.0, 0.0)
    },
}


# Whose sizes may be any, of each kind of graph one.
DYNAMIC = [path for path in FAMILIES if 'faster' in path or 'rtmdet' in path]
DYNAMIC += [path for path in FAMILIES if 'deeplab' in path]


def made(path: str) -> tuple[Any, Config]:
    """A model with random weights that says something, and its config on clouds."""
    size, scope = (160, 256), path.partition('::')[0]
    cfg: Config = read_config(path)
    cfg.test_dataloader.dataset = {
        'type': 'CloudyImages',
        'scope': scope,
        'number': 10,
        'size': size,
    }
    if cfg.model.get('test_cfg', {}).get('mode') == 'slide':
        cfg.model.test_cfg = {'mode': 'whole'}
    cfg.model.data_preprocessor.pop('test_cfg', None)
    if cfg.model.test_cfg.get('nms_pre', 0) > 1000:  # of RTMDet 30,000: minutes of NMS
        cfg.model.test_cfg.nms_pre = 1000
    model: Any = build_plain(cfg)
    model.eval()
    images = CloudyImages(scope, 10, size)
    alive(model, pseudo_collate([images[number] for number in range(10)]))
    few = pseudo_collate([images[number] for number in range(2)])
    spread_of(model, FAMILIES[path], few)
    return model, cfg


@pytest.mark.parametrize(
    ('path', 'dynamic'),
    [*((path, False) for path in FAMILIES), *((path, True) for path in DYNAMIC)],
)
def test_it_gives_what_torch_gives(path: str, dynamic: bool, tmp_path: Path) -> None:
    model, cfg = made(path)
    found = export_model(model, cfg, tmp_path / 'student.onnx', dynamic=dynamic)
    print(path, dynamic, [(row.name, row.value, row.compared) for row in found])
    assert all(row.passes for row in found)
    assert found[0].compared > 100  # pairs of boxes, on ten images; or numbers


def test_a_part_that_is_for_the_traced_size_is_said_to_be(tmp_path: Path) -> None:
    """SegFormer's attention, by the exporter that traces."""
    (path,) = (path for path in FAMILIES if 'segformer' in path)
    model, cfg = made(path)
    with pytest.raises(ConfigError, match=r'fails in .* traced size: leave out --dyn'):
        export_model(model, cfg, tmp_path / 'student.onnx', dynamic=True)
    assert list(tmp_path.iterdir()) == []
