"""The embedded tasks' models with trained weights, on the tiny data."""

import itertools
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

import kd_plugins
from kd_plugins.apis.export import build_plain
from kd_plugins.host_types import HostModule
from kd_plugins.teachers.checkpoints import load_strictly, load_weights

CONFIGS = Path(kd_plugins.__file__).parents[1] / 'configs'
TWO_STAGE = 'digits/faster-rcnn_r18-w32_fpn_4k_digits'
ONE_STAGE = 'digits/gfl_r18-w32_fpn_3k_digits'
SEGMENTOR = 'mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128'
_run = itertools.count()


def config_of(name: str, data: Path, **changes: Any) -> Config:
    """A config on tiny data.

    Args:
        name: one of the above.
        data: holds ``digits`` and ``mosaics``.
        changes: keys of the config with their new values.
    """
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    dataset = cfg.test_dataloader.dataset
    dataset.data_root = str(data / name.partition('/')[0])
    cfg.test_dataloader.batch_size = 3
    if 'ann_file' in cfg.test_evaluator:
        cfg.test_evaluator.ann_file = f'{dataset.data_root}/annotations/val.json'
    cfg.custom_hooks = []  # the data are there
    cfg.log_level = 'WARNING'
    cfg.experiment_name = cfg.visualizer.name = f'onnx_{os.getpid()}_{next(_run)}'
    cfg.merge_from_dict(changes)
    return cfg


def weights_of(name: str) -> Path:
    return CONFIGS / f'{name}.safetensors'


def model_of(name: str, cfg: Config) -> HostModule:
    model: Any = build_plain(cfg)
    load_strictly(model, load_weights(weights_of(name)), 'here')
    return model.eval()
