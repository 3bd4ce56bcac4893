"""Detectors and segmentors that are pruned in a second."""

import copy
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

MODELS_FOLDER = 'configs/_base_/models'
WIDTH = 8


def config(name: str) -> Config:
    """A tiny one: 'pspnet', 'frcnn' or 'gfl'."""
    file, scope, changes = {
        'pspnet': ('pspnet_r18_mosaics', 'mmseg', _PSPNET),
        'frcnn': ('faster-rcnn_r18_digits', 'mmdet', _FRCNN),
        'gfl': ('gfl_r18_digits', 'mmdet', _GFL),
    }[name]
    cfg = Config.fromfile(f'{MODELS_FOLDER}/{file}.py')
    cfg.merge_from_dict({'model': changes})
    return Config({'default_scope': scope, 'model': cfg.model})


_BACKBONE = {'base_channels': WIDTH, 'stem_channels': WIDTH}
_NECK = {'in_channels': [8, 16, 32, 64], 'out_channels': 16}
_PSPNET: dict[str, Any] = {
    'backbone': _BACKBONE,
    'decode_head': {'in_channels': 64, 'channels': 16},
    'auxiliary_head': {'in_channels': 32, 'channels': 8},
}
_FRCNN: dict[str, Any] = {
    'backbone': _BACKBONE,
    'neck': _NECK,
    'rpn_head': {'in_channels': 16, 'feat_channels': 16},
    'roi_head': {
        'bbox_roi_extractor': {'out_channels': 16},
        'bbox_head': {'in_channels': 16, 'fc_out_channels': 24},
    },
}
_GFL: dict[str, Any] = {
    'backbone': _BACKBONE,
    'neck': _NECK,
    'bbox_head': {
        'in_channels': 16,
        'feat_channels': 16,
        'norm_cfg': {'type': 'GN', 'num_groups': 4, 'requires_grad': True},
    },
}


def built(cfg: Config) -> Any:
    """The model, with weights that the seed gives."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(copy.deepcopy(cfg.model)).eval()


def images(size: int = 64) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
