"""A trained student is calibrated, written and scored, of either host."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.apis.quantize import quantize, quantized_config
from kd_plugins.apis.test import evaluate
from kd_plugins.checkpoints import read_checkpoint
from kd_plugins.compression.quantization.calibrate import observed
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.runs import run_config
from tests.distillers.tiny import config, faster_rcnn, hint, teacher_of
from tests.engine.hooks.toy import unformatted

tool = import_module('tools.quantize')


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    torch.manual_seed(0)
    state = MODELS.build(faster_rcnn()).state_dict()
    torch.save({'state_dict': state, 'meta': {}}, tmp_path / 'float.pth')
    return str(tmp_path / 'float.pth')


def run(model: Any, folder: Path) -> Config:
    cfg = run_config(model, folder / 'work')
    for part in ('dataloader', 'cfg', 'evaluator'):
        cfg[f'test_{part}'] = cfg[f'val_{part}']
    return cfg


def test_a_student_is_calibrated_written_and_scored(
    tmp_path: Path, checkpoint: str
) -> None:
    """Of a distillation the student alone; what is written needs no more."""
    pairs = dict(neck=hint())
    distillation = config(pairs, teacher=teacher_of(faster_rcnn()))
    out = tmp_path / 'deep' / 'int8.pth'
    told = quantize(run(distillation, tmp_path), checkpoint, out, batches=1)
    assert told['batches'] == 1
    written = Config.fromfile(told['config'])
    assert written.model.type == 'kd_plugins.Quantized'
    assert written.custom_imports.imports == ['kd_plugins']
    model = MODELS.build(written.model)
    assert told['layers'] == len(observed(model))
    model.load_state_dict(read_checkpoint(str(out))['state_dict'])
    assert all(item.is_observed for item in observed(model).values())
    float_weights = read_checkpoint(checkpoint)['state_dict']
    for name, value in float_weights.items():
        assert torch.equal(model.state_dict()[name], value)
    with unformatted():
        assert evaluate(run(written.model, tmp_path), str(out))['images'] > 0


def test_float_weights_are_not_scored_as_quantised(
    tmp_path: Path, checkpoint: str
) -> None:
    model = dict(type='kd_plugins.Quantized', model=faster_rcnn())
    with unformatted(), pytest.raises(ConfigError, match='knows the range of what'):
        evaluate(run(model, tmp_path), checkpoint)


def test_layers_that_stay_float_are_in_the_config() -> None:
    cfg = Config(dict(model=faster_rcnn()))
    assert quantized_config(cfg, ['*.fc_cls']).model.float_layers == ['*.fc_cls']
    quantized = quantized_config(cfg)
    assert quantized_config(quantized).model == quantized.model
    with pytest.raises(ConfigError, match='quantises its model already'):
        quantized_config(quantized, ['*.fc_cls'])


def test_bad_input_is_refused(tmp_path: Path, checkpoint: str) -> None:
    cfg = run(faster_rcnn(), tmp_path)
    with pytest.raises(ConfigError, match=r'out must end with \.pth or'):
        quantize(cfg, checkpoint, tmp_path / 'int8.onnx')
    with pytest.raises(ConfigError, match='--calibrate must be a whole number >= 1'):
        quantize(cfg, checkpoint, tmp_path / 'int8.pth', batches=0)
    with unformatted(), pytest.raises(CheckpointError, match='checkpoint'):
        quantize(run(faster_rcnn(base=8), tmp_path), checkpoint, tmp_path / 'int8.pth')


def test_arguments_of_the_tool() -> None:
    args = tool.parse(['c.py', 'w.pth', 'o.pth', '--float-layers', 'a', 'b'])
    assert (args.calibrate, args.float_layers) == (16, ['a', 'b'])
