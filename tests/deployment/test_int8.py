"""The embedded tasks' models in int8: compared, stored as whole numbers, scored."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from kd_plugins.apis.export import build_plain
from kd_plugins.apis.export_onnx import export_model
from kd_plugins.apis.quantize import quantized_config
from kd_plugins.apis.test import evaluate
from kd_plugins.compression.quantization import calibrate, quantized_layers
from kd_plugins.deployment.session import OnnxFile
from kd_plugins.teachers.checkpoints import load_strictly, load_weights
from tests.deployment.embedded import (
    ONE_STAGE,
    SEGMENTOR,
    TWO_STAGE,
    config_of,
    weights_of,
)

pytestmark = [pytest.mark.host, pytest.mark.slow]
METRIC = {SEGMENTOR: 'mIoU', ONE_STAGE: 'coco/bbox_mAP', TWO_STAGE: 'coco/bbox_mAP'}


@pytest.mark.parametrize('name', [TWO_STAGE, ONE_STAGE, SEGMENTOR])
def test_a_calibrated_model_goes_out_as_whole_numbers(
    name: str, tiny_mosaics: Path, tmp_path: Path
) -> None:
    cfg = config_of(name, tiny_mosaics.parent)
    cfg.model = quantized_config(cfg).model
    model: Any = build_plain(cfg)
    load_strictly(model, load_weights(weights_of(name)), 'here')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
        calibrate(model, loader)
    out = tmp_path / 'student.onnx'
    found = export_model(model, cfg, out)
    assert found[0].compared > 20
    stored = onnx.load(out)
    sizes = {
        kind: sum(
            len(item.raw_data)
            for item in stored.graph.initializer
            if item.data_type == getattr(onnx.TensorProto, kind)
        )
        for kind in ('UINT8', 'FLOAT')
    }
    numbers = sum(
        layer.weight.numel()
        for layer_name, layer in quantized_layers(model).items()
        if not layer_name.startswith('auxiliary_head')
    )
    assert sizes['UINT8'] >= numbers
    assert sizes['FLOAT'] < numbers / 2
    OnnxFile(out)  # it opens
    work_dir = str(tmp_path / 'work')
    onnx_score, float_score = (
        evaluate(config_of(name, tiny_mosaics.parent, work_dir=work_dir), str(path))
        for path in (out, weights_of(name))
    )
    # The same images as those of the ranges: as good as the float weights.
    metric = METRIC[name]
    assert onnx_score[metric] == pytest.approx(float_score[metric], rel=0.1)
