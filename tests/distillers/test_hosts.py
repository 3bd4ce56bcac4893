"""Inferencers, test-time augmentation and averaged weights take a distiller."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope, init_default_scope

from kd_plugins.registry import MODELS

from .runs import TinyImages, assert_same_weights, train
from .tiny import all_pairs, config, faster_rcnn, raw_batch

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
OURS = dict(runner_type='kd_plugins.DistillRunner')


@pytest.fixture
def missing_teacher(tmp_path: Path) -> dict[str, Any]:
    """A distillation whose teacher file is not there."""
    teacher = dict(model=faster_rcnn(), checkpoint=str(tmp_path / 'no.pth'))
    return config(all_pairs(), teacher=teacher)


def test_inferencer_needs_no_teacher_file_and_predicts_as_the_student(
    tmp_path: Path, missing_teacher: dict[str, Any]
) -> None:
    from mmdet.apis import DetInferencer

    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(
            type='PackDetInputs',
            meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
        ),
    ]
    torch.manual_seed(0)
    weights = MODELS.build(faster_rcnn()).state_dict()
    path = tmp_path / 'student.pth'
    meta = dict(dataset_meta=dict(TinyImages.metainfo, palette=[(0, 0, 0)] * 3))
    torch.save(dict(state_dict=weights, meta=meta), path)
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    predictions = []
    for model in (missing_teacher, faster_rcnn()):
        cfg = Config(
            dict(
                model=model,
                default_scope='mmdet',
                test_dataloader=dict(
                    dataset=dict(type='CocoDataset', pipeline=pipeline)
                ),
                visualizer=dict(type='DetLocalVisualizer', name=f'v{len(predictions)}'),
                test_cfg=dict(),
            )
        )
        inferencer = DetInferencer(
            cfg, str(path), device='cpu', scope='mmdet', show_progress=False
        )
        found = inferencer(image, no_save_vis=True, return_vis=False)
        predictions.append(found['predictions'][0])
    assert predictions[0]['scores'] and predictions[0] == predictions[1]


def test_test_time_augmentation(missing_teacher: dict[str, Any]) -> None:
    from mmdet.models.test_time_augs import DetTTAModel

    init_default_scope('mmdet')
    tta = dict(
        type=DetTTAModel,
        tta_cfg=ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
    )
    results = []
    torch.manual_seed(0)
    weights = MODELS.build(faster_rcnn()).state_dict()
    for cfg in (missing_teacher, faster_rcnn()):
        model = MODELS.build(dict(tta, module=cfg)).eval()
        model.module.load_state_dict(weights)
        first, second = raw_batch(), raw_batch()
        for samples, flip in ((first, False), (second, True)):
            for sample in samples['data_samples']:
                sample.set_metainfo(dict(flip=flip, flip_direction='horizontal'))
        second['inputs'] = [image.flip(-1) for image in second['inputs']]
        data = dict(
            inputs=[first['inputs'], second['inputs']],
            data_samples=[first['data_samples'], second['data_samples']],
        )
        with torch.no_grad():
            results.append(model.test_step(data))
    for one, other in zip(*results, strict=True):
        assert len(one.pred_instances) > 0
        assert torch.equal(one.pred_instances.bboxes, other.pred_instances.bboxes)


def test_averaged_weights_are_those_of_the_students_average(tmp_path: Path) -> None:
    hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1)]
    ours = train(
        config(all_pairs(weight=0.0)), tmp_path / 'ours', custom_hooks=hooks, **OURS
    )
    host = train(faster_rcnn(), tmp_path / 'host', custom_hooks=hooks)
    averages = []
    for runner in (ours, host):
        ema = next(hook for hook in runner.hooks if hasattr(hook, 'ema_model'))
        averages.append(ema.ema_model.module)
    assert_same_weights(averages[0].student.state_dict(), averages[1].state_dict())
    student = torch.load(tmp_path / 'ours/student_iter_4.pth', weights_only=False)
    assert_same_weights(student['state_dict'], averages[1].state_dict())


def test_the_hosts_own_runner_trains_it_too(tmp_path: Path) -> None:
    runner = train(config(all_pairs()), tmp_path)
    losses = runner.message_hub.log_scalars
    assert {f'train/loss_kd_{name}' for name in all_pairs()} <= set(losses)
    assert DefaultScope.get_current_instance() is not None
