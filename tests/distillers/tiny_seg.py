"""Segmentors of a few thousand weights, and a batch for them."""

from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from .tiny import IMAGE_MEANS

CLASSES = 4


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
    prepared: dict[str, Any] = model.data_preprocessor(
        dict(inputs=inputs, data_samples=samples), True
    )
    return prepared


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
