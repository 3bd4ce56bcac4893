"""Models of the hosts' zoos, whole, with no key written by hand: built, and trained."""

import math
import re
from typing import Any

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

from kd_plugins.registry import MODELS
from kd_plugins.teachers import model_config, without_pretrained
from tests.distillers.auto.models import balance
from tests.distillers.tiny import teacher_of
from tests.views.kinds import Kind, batch

# Teacher, student, what is chosen, and what the summary says of what is not.
ZOO: dict[str, tuple[str, str, dict[str, str], str]] = {
    'mask rcnn swin-t teaches faster rcnn r18': (
        'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
        'kd_plugins::coco/faster-rcnn_r18_fpn_1x_coco.py',
        {'features': 'neck', 'logits': 'roi.logits'},
        '',
    ),
    'rtmdet-l teaches rtmdet-tiny': (
        'mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py',
        'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
        {'features': 'neck', 'logits': 'head.logits'},
        '',
    ),
    'retinanet r101 teaches atss r50': (
        'mmdet::retinanet/retinanet_r101_fpn_1x_coco.py',
        'mmdet::atss/atss_r50_fpn_1x_coco.py',
        {'features': 'neck'},
        r"left out: logits \(view='head\.logits'\): .* the anchors of student and",
    ),
    'deformable detr teaches itself smaller': (
        'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
        'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
        {'features': 'encoder.memory'},
        '',
    ),
    'segformer-b4 teaches b0': (
        'mmseg::segformer/segformer_mit-b4_8xb1-160k_cityscapes-1024x1024.py',
        'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
        {'logits': 'seg.logits'},
        '',
    ),
    'deeplabv3+ r101 teaches bisenetv2': (
        'mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-80k_cityscapes-512x1024.py',
        'mmseg::bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
        {'logits': 'seg.logits'},
        '',
    ),
}
# Of a student that has the config of its teacher.
SMALLER = dict(num_queries=50, encoder=dict(num_layers=2), decoder=dict(num_layers=3))
SIDE = 64


def model_of(file: str, **changes: Any) -> Any:
    """A model of a zoo with random weights, for images of this test's size."""
    model = without_pretrained(model_config(dict(cfg=file, **changes)))
    if 'roi_head' in model:
        model.train_cfg.rcnn.sampler.num = 32  # boxes of an image
    if 'size' in model.data_preprocessor:
        model.data_preprocessor.size = (SIDE, SIDE)
    return model


@pytest.mark.slow
@pytest.mark.parametrize('names', ZOO)
def test_any_two_models_train_without_a_key_by_hand(names: str) -> None:
    teacher, student, chosen, left_out = ZOO[names]
    init_default_scope(student.partition(':')[0].replace('kd_plugins', 'mmdet'))
    changes = SMALLER if student == teacher else {}
    model = MODELS.build(
        dict(
            type='kd_plugins.Distiller',
            student=model_of(student, **changes),
            teacher=teacher_of(model_of(teacher)),
            pairs='auto',
        )
    )
    model.student = revert_sync_batchnorm(model.student)  # as the runner does on a CPU
    model.init_weights()
    balance(model)
    sources = {
        name: pair.get('layer') or pair['view']
        for name, pair in model.choice.pairs.items()
    }
    assert sources == chosen
    assert re.search(left_out, model.summary())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    model.train()
    data = batch(model, Kind(lambda: None, side=SIDE))
    for _ in range(2):
        losses, logs = model.parse_losses(model(**data, mode='loss'))
        for name in chosen:
            value = logs[f'loss_kd_{name}'].item()
            assert math.isfinite(value) and value > 0
        optimizer.zero_grad()
        losses.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
