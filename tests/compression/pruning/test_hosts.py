"""Models of the hosts as they are configured there, pruned and rebuilt."""

from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from kd_plugins.compression.pruning import (
    Budget,
    channels_of,
    narrowed_model,
    prune_channels,
)
from kd_plugins.compression.pruning.verify import check_same
from kd_plugins.config_files import read_config
from kd_plugins.teachers import without_pretrained
from tests.compression.pruning.models import built, config

pytestmark = pytest.mark.filterwarnings('ignore:``build_loss`` would be deprecated')
MOBILE = 'mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024.py'
SEGFORMER = 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'


def pruned_and_rebuilt(cfg: Config, share: float, size: int, **options: Any) -> Any:
    """The model, and its pruned half as its config builds it."""
    model = built(cfg)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1, 3, size, size, generator=generator)
    pruned = prune_channels(model, images, Budget(flops=share), **options)
    channels = channels_of(model, pruned.model)
    rebuilt = built(
        Config({**cfg.to_dict(), 'model': narrowed_model(cfg.model, channels)})
    )
    rebuilt.load_state_dict(pruned.model.state_dict(), strict=True)
    check_same(pruned.model, rebuilt, images)
    return model, rebuilt, set(channels)


def host(name: str) -> Config:
    cfg = read_config(name)
    model = without_pretrained(cfg.model)
    for norm in (model, model.backbone):  # SyncBN is for GPUs
        if 'norm_cfg' in norm:
            norm.norm_cfg = dict(norm.norm_cfg, type='BN')
    return Config({'default_scope': cfg.default_scope, 'model': model})


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'share', 'size', 'narrower'),
    [
        (
            'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
            0.5,
            128,
            ('backbone.layer4.2.conv3', 'neck.fpn_convs.3.conv'),
        ),
        (
            'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
            0.7,
            128,
            ('roi_head.bbox_head.2.shared_fcs.0', 'roi_head.mask_head.1.upsample'),
        ),
        (f'mmseg::{MOBILE}', 0.5, 64, ('backbone.layer4.1.conv.1.conv',)),
        (f'mmseg::{SEGFORMER}', 0.8, 64, ('backbone.layers.2.1.0.ffn.layers.1',)),
        (
            'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
            0.8,
            224,
            ('backbone.stages.2.blocks.3.ffn.layers.1', 'neck.lateral_convs.0.conv'),
        ),
        (
            'mmdet::detr/detr_r50_8xb2-150e_coco.py',
            0.7,
            128,
            ('backbone.layer4.2.conv2',),
        ),
    ],
)
def test_a_model_of_the_hosts(
    name: str, share: float, size: int, narrower: tuple[str, ...]
) -> None:
    model, _, channels = pruned_and_rebuilt(host(name), share, size)
    assert channels.issuperset(narrower)
    attention = [
        path
        for path, layer in model.named_modules()
        if isinstance(layer, nn.MultiheadAttention) or path.endswith('.w_msa')
    ]
    # What is added to attention keeps its width, and attention itself.
    assert not any(each.startswith(path) for path in attention for each in channels)


def test_deformable_convolutions_keep_their_channels() -> None:
    cfg = config('frcnn')
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)
    stages = (False, False, True, True)
    cfg.model.backbone.update(depth=18, dcn=None)
    cfg.model.backbone.update(
        depth=50, base_channels=4, stem_channels=4, dcn=dcn, stage_with_dcn=stages
    )
    cfg.model.neck.in_channels = [16, 32, 64, 128]
    model = built(cfg)
    images = torch.randn(1, 3, 64, 64)
    pruned = prune_channels(model, images, Budget(flops=0.8, tolerance=0.1))
    block = pruned.model.backbone.layer3[1]
    before = model.backbone.layer3[1]
    assert block.conv2.weight.shape == before.conv2.weight.shape
    assert block.conv1.out_channels == before.conv1.out_channels
    assert block.conv3.out_channels < before.conv3.out_channels
    assert 'backbone.layer3.1.conv2' in pruned.kept
    # Nothing of it stays changed.
    assert 'forward' not in vars(block.conv2)
