"""What is not exported, and what is said of it."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.apis.export import build_plain
from kd_plugins.apis.export_onnx import export_model, export_onnx
from kd_plugins.apis.test import evaluate
from kd_plugins.deployment.families import graph_of
from kd_plugins.deployment.session import OnnxFile
from kd_plugins.errors import ConfigError
from tests.deployment.embedded import (
    ONE_STAGE,
    SEGMENTOR,
    TWO_STAGE,
    config_of,
    model_of,
    weights_of,
)
from tools import export_student

pytestmark = pytest.mark.host


def graph(cfg: Config, *, dense: bool = False, dynamic: bool = False) -> Any:
    model: Any = build_plain(cfg)
    return graph_of(model, dense=dense, dynamic=dynamic)


def with_fovea(cfg: Config) -> None:
    cfg.model.type = 'FOVEA'
    cfg.model.bbox_head = {
        'type': 'FoveaHead',
        'num_classes': 3,
        'in_channels': 64,
        'feat_channels': 8,
        'stacked_convs': 1,
        'strides': [4, 8, 16, 32],
        'base_edge_list': [8, 16, 32, 64],
        'scale_ranges': [(1, 16), (8, 32), (16, 64), (32, 128)],
        'sigma': 0.4,
    }
    cfg.model.train_cfg = {}


def with_masks(cfg: Config) -> None:
    cfg.model.type = 'MaskRCNN'
    cfg.model.roi_head.mask_roi_extractor = cfg.model.roi_head.bbox_roi_extractor
    cfg.model.roi_head.mask_head = {
        'type': 'FCNMaskHead',
        'num_convs': 1,
        'in_channels': 64,
        'conv_out_channels': 8,
        'num_classes': 10,
    }
    cfg.model.train_cfg.rcnn.mask_size = 28


def test_a_head_that_decodes_in_its_own_way(tmp_path: Path) -> None:
    cfg = config_of(ONE_STAGE, tmp_path)
    with_fovea(cfg)
    with pytest.raises(ConfigError, match=r'FOVEA with FoveaHead decodes .* --dense'):
        graph(cfg)
    dense = graph(cfg, dense=True).eval()
    assert len(dense(torch.zeros(1, 3, 64, 64))) == 8
    assert dense.outputs[0] == 'cls_scores_0' and dense.outputs[-1] == 'bbox_preds_3'


def test_masks(tmp_path: Path) -> None:
    cfg = config_of(TWO_STAGE, tmp_path)
    with_masks(cfg)
    with pytest.raises(
        ConfigError, match=r'MaskRCNN predicts in a way of its own in FCNMaskHead \(mas'
    ):
        graph(cfg)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (TWO_STAGE, r'--dense is of one-stage detectors, got FasterRCNN'),
        (SEGMENTOR, r'--dense is of one-stage detectors, got the segmentor Encoder'),
    ],
)
def test_dense_outputs_of_others(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        graph(config_of(name, tmp_path), dense=True)


def test_windows_of_any_size(tmp_path: Path) -> None:
    cfg = config_of(SEGMENTOR, tmp_path)
    cfg.model.test_cfg = {'mode': 'slide', 'crop_size': (64, 64), 'stride': (32, 32)}
    with pytest.raises(ConfigError, match=r"mode='slide' .* leave out --dynamic"):
        graph(cfg, dynamic=True).free_axes()


@pytest.mark.slow
def test_windows_of_one_size(tiny_mosaics: Path, tmp_path: Path) -> None:
    cfg = config_of(SEGMENTOR, tiny_mosaics.parent)
    cfg.model.test_cfg = {'mode': 'slide', 'crop_size': (96, 96), 'stride': (64, 64)}
    model = model_of(SEGMENTOR, cfg)
    logits, pixels = export_model(model, cfg, tmp_path / 'student.onnx', check=1)
    assert logits.value < 1e-5 and pixels.value < 1e-4


def test_a_model_of_no_family(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'Linear is of no family that is exported'):
        graph_of(torch.nn.Linear(1, 1), dense=False, dynamic=False)  # type: ignore[arg-type]


def test_options_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    for options, message in (
        ({'check': -1}, r'--check must be a whole number >= 0'),
        ({'batch_size': 0}, r'--batch-size must be a whole number >= 1'),
    ):
        with pytest.raises(ConfigError, match=message):
            export_onnx('nowhere.pth', tmp_path / 'x.onnx', **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r'out must end with .onnx'):
        export_onnx('nowhere.pth', tmp_path / 'x.pth')


def test_the_tool_knows_what_is_of_onnx(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--size, --dense: of ONNX files, got 'x.pt"):
        export_student.main(['a.pth', 'x.pth', '--size', '64', '64', '--dense'])


def test_the_tool_writes_and_the_file_refuses_other_sizes(
    tiny_mosaics: Path, tmp_path: Path
) -> None:
    config, out = tmp_path / 'config.py', tmp_path / 'made' / 'student.onnx'
    cfg = config_of(SEGMENTOR, tiny_mosaics.parent)
    cfg.dump(config)
    options = ['--config', str(config), '--size', '64', '96', '--check', '0']
    export_student.main([str(weights_of(SEGMENTOR)), str(out), *options])
    file = OnnxFile(out)
    assert file.metadata.size == [64, 96]
    assert file.metadata.checked == {}
    assert file.run(torch.zeros(1, 3, 64, 96), ['class_map'])[0].shape == (1, 64, 96)
    with pytest.raises(ConfigError, match=r'takes images of 64x96, got 32x96. Export'):
        file.run(torch.zeros(1, 3, 32, 96))
    with pytest.raises(ConfigError, match=r'takes 1 images at a time, got 2'):
        file.run(torch.zeros(2, 3, 64, 96))
    for options in ({'tta': True}, {'fidelity': True}):
        with pytest.raises(
            ConfigError, match=r'scored alone and on images as they are'
        ):
            evaluate(copy.deepcopy(cfg), str(out), **options)
    with pytest.raises(ConfigError, match=r'got 2 checkpoints'):
        evaluate(copy.deepcopy(cfg), [str(out), 'other.pth'])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file '.*x.onnx'"):
        OnnxFile(tmp_path / 'x.onnx')
    (tmp_path / 'x.onnx').write_bytes(b'nothing')
    with pytest.raises(ConfigError, match=r"ONNX Runtime cannot open '.*x.onnx'"):
        OnnxFile(tmp_path / 'x.onnx')


def test_without_test_data_nothing_can_be_compared(tmp_path: Path) -> None:
    cfg = config_of(SEGMENTOR, tmp_path)
    model = model_of(SEGMENTOR, cfg)
    with pytest.raises(ConfigError, match=r'test_dataloader: .*val.txt .*Put the data'):
        export_model(model, cfg, tmp_path / 'x.onnx')
    cfg.pop('test_dataloader')
    with pytest.raises(ConfigError, match=r'has no test_dataloader. .*--check 0 and'):
        export_model(model, cfg, tmp_path / 'x.onnx')


def test_the_extra_is_named(
    tiny_mosaics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config_of(SEGMENTOR, tiny_mosaics.parent)
    model = model_of(SEGMENTOR, cfg)
    for module, use in (
        ('onnx', lambda: export_model(model, cfg, tmp_path / 'x.onnx')),
        ('onnxruntime', lambda: evaluate(cfg, str(tmp_path / 'x.onnx'))),
    ):
        monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
        message = rf"needs {module}. Install it: pip .*'kd_plugins\[export\]'"
        with pytest.raises(ConfigError, match=message):
            use()
