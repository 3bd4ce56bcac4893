"""Segmentors of a few thousand weights, and a batch for them."""

import copy
import itertools
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import Dataset

from .runs import run_config
from .tiny import IMAGE_MEANS, config, teacher_of

CLASSES = 4
_run = itertools.count()


def head(kind: str, channels: int, **changes: Any) -> dict[str, Any]:
    """A decode or auxiliary head."""
    return (
        dict(
            type=f'mmseg.{kind}',
            in_channels=channels,
            in_index=-1,
            channels=8,
            dropout_ratio=0.5,
            num_classes=CLASSES,
            norm_cfg=dict(type='BN'),
            loss_decode=dict(type='mmseg.CrossEntropyLoss'),
        )
        | changes
    )


def segmentor(base: int = 4, decode: Any = None, **changes: Any) -> dict[str, Any]:
    """A PSPNet on two stages of a ResNet, or with another head."""
    return (
        dict(
            type='mmseg.EncoderDecoder',
            data_preprocessor=dict(
                type='mmseg.SegDataPreProcessor',
                bgr_to_rgb=True,
                size=(32, 32),
                pad_val=0,
                seg_pad_val=255,
                **IMAGE_MEANS,
            ),
            backbone=dict(
                type='mmseg.ResNetV1c',
                depth=18,
                base_channels=base,
                stem_channels=base,
                num_stages=2,
                strides=(1, 2),
                dilations=(1, 1),
                out_indices=(0, 1),
            ),
            decode_head=decode or head('PSPHead', 2 * base, pool_scales=(1, 2)),
            auxiliary_head=head('FCNHead', base, num_convs=1) | dict(in_index=0),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        )
        | changes
    )


def segment_batch(model: Any, images: int = 2) -> dict[str, Any]:
    """Preprocessed for training; the first image's upper left corner is ignored."""
    prepared: dict[str, Any] = model.data_preprocessor(raw_segments(images), True)
    return prepared


def raw_segments(images: int = 2) -> dict[str, Any]:
    """Images of 32x32 as they come out of the host's pipeline."""
    generator = torch.Generator().manual_seed(2)
    inputs, samples = [], []
    for number in range(images):
        image = torch.randint(0, 256, (3, 32, 32), generator=generator)
        inputs.append(image.byte())
        sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
        labels = torch.randint(0, CLASSES, (1, 32, 32), generator=generator)
        if number == 0:
            labels[:, :8, :8] = 255
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def losses_of(model: Any) -> dict[str, Tensor]:
    """Losses of a model on that batch; dropout draws from one seed."""
    torch.manual_seed(3)
    found: dict[str, Tensor] = model(**segment_batch(model), mode='loss')
    return found


def ocr() -> dict[str, Any]:
    """The second stage of a cascade."""
    return head('OCRHead', 8, ocr_channels=4)


def cascade(base: int = 4) -> dict[str, Any]:
    """OCRNet: a coarse map first."""
    stages = [
        head('FCNHead', 2 * base, num_convs=1),
        ocr() | dict(in_channels=2 * base),
    ]
    return segmentor(base, stages, type='mmseg.CascadeEncoderDecoder', num_stages=2)


@DATASETS.register_module()
class TinySegments(Dataset[Any]):
    """Four images; augmented by noise from torch's default stream."""

    metainfo = dict(classes=tuple('abcd'[:CLASSES]))

    def __init__(self) -> None:
        raw = raw_segments(4)
        self.items = [
            dict(inputs=image, data_samples=sample)
            for image, sample in zip(*raw.values(), strict=True)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = copy.deepcopy(self.items[index])
        noise = torch.randint(0, 40, item['inputs'].shape)
        item['inputs'] = (item['inputs'].long() + noise).clamp(max=255).byte()
        return item


def holistic_run(work_dir: Path, **changes: Any) -> Config:
    """Four iterations of a run with a critic, saved at each second."""
    holistic = dict(
        view='seg.logits',
        loss=dict(type='HolisticLoss', base_channels=8, loss_weight=0.1),
    )
    model = config(dict(holistic=holistic), segmentor(), teacher_of(segmentor(8)))
    sampler = dict(type='InfiniteSampler', shuffle=True)
    loader = dict(batch_size=2, num_workers=0, dataset=dict(type='TinySegments'))
    options: dict[str, Any] = dict(
        default_scope='mmseg',
        train_dataloader=dict(loader, sampler=sampler),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
        ),
        train_cfg=dict(by_epoch=False, max_iters=4),
        **dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')),
        runner_type='kd_plugins.DistillRunner',
        # The hosts keep what they name for the whole process.
        experiment_name=f'segments_{next(_run)}_{work_dir.name}',
    )
    return run_config(model, work_dir, **(options | changes))
