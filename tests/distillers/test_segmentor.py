"""Segmentors of mmseg: pairs of layers, in backbone and heads."""

from typing import Any

import pytest
import torch
from mmengine.structures import PixelData
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS

from .tiny import IMAGE_MEANS, distiller, hint, teacher_of

pytestmark = pytest.mark.host


def head(kind: str, channels: int, **changes: Any) -> dict[str, Any]:
    return dict(
        type=f'mmseg.{kind}',
        in_channels=channels,
        in_index=-1,
        channels=8,
        dropout_ratio=0.5,
        num_classes=4,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='mmseg.CrossEntropyLoss'),
        **changes,
    )


def segmentor(base: int = 4, decode: Any = None, **changes: Any) -> dict[str, Any]:
    return dict(
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
        **changes,
    )


def segment_batch(model: Any) -> dict[str, Any]:
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(2)
    inputs, samples = [], []
    for _ in range(2):
        image = torch.randint(0, 256, (3, 32, 32), generator=generator)
        inputs.append(image.byte())
        sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
        labels = torch.randint(0, 4, (1, 32, 32), generator=generator)
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    prepared: dict[str, Any] = model.data_preprocessor(
        dict(inputs=inputs, data_samples=samples), True
    )
    return prepared


def losses_of(model: Any) -> dict[str, Tensor]:
    torch.manual_seed(3)
    found: dict[str, Tensor] = model(**segment_batch(model), mode='loss')
    return found


def layer(path: Any, **options: Any) -> dict[str, Any]:
    return dict(layer=path, loss=dict(type='HintLoss'), **options)


def pspnet(pairs: Any, **options: Any) -> Any:
    return distiller(
        pairs, student=segmentor(), teacher=teacher_of(segmentor(8)), **options
    )


def test_layers_of_backbone_and_heads() -> None:
    pairs = dict(
        hint=layer('backbone', levels=[1], adapter=dict(type='ConvAdapter')),
        bottleneck=layer('decode_head.bottleneck'),
        logits=layer('decode_head.conv_seg'),
        auxiliary=layer('auxiliary_head.conv_seg'),
    )
    model = pspnet(pairs, task_loss_weights={'decode.loss_ce': 0.5})
    losses = losses_of(model)
    assert {'decode.loss_ce', 'aux.loss_ce'} <= set(losses)
    assert all(losses[f'loss_kd_{name}'] > 0 for name in pairs)
    model.parse_losses(losses)[0].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0
    assert 'runs its backbone, decode_head, auxiliary_head' in model.plan()


def test_the_head_as_a_whole_never_fires_in_training() -> None:
    with pytest.raises(ConfigError, match=r"'decode_head' of the student never fires"):
        pspnet(dict(a=layer('decode_head')))


def test_zero_weights_leave_its_dropout_and_steps_as_they_are() -> None:
    pairs = dict(a=layer('backbone', levels=[0], adapter=dict(type='ConvAdapter')))
    pairs['a']['loss'] = dict(type='HintLoss', loss_weight=0.0)
    ours = pspnet(pairs)
    torch.manual_seed(0)
    host = MODELS.build(segmentor())
    host.init_weights()
    host.train()
    states = []
    for model, student in ((ours, ours.student), (host, host)):
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(1)
        for _ in range(3):
            optimizer.zero_grad()
            prepared = segment_batch(model)
            total, _ = model.parse_losses(model(**prepared, mode='loss'))
            total.backward()
            optimizer.step()
        states.append(student.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_cascaded_and_several_heads() -> None:
    cascade = [head('FCNHead', 8, num_convs=1), ocr()]
    changes = dict(type='mmseg.CascadeEncoderDecoder', num_stages=2)
    student = {**segmentor(decode=cascade), **changes}
    student['auxiliary_head'] = [student['auxiliary_head']] * 2
    pairs = dict(
        a=layer('decode_head.1.conv_seg'),
        b=layer('auxiliary_head.1.conv_seg'),
        c=layer('decode_head.0.conv_seg', levels=[0]),
    )
    model = distiller(pairs, student=student, teacher=teacher_of(student))
    losses = losses_of(model)
    assert losses['loss_kd_a'] > 0 and losses['loss_kd_b'] > 0


def ocr() -> dict[str, Any]:
    return head('OCRHead', 8, ocr_channels=4)


def test_a_detector_does_not_teach_a_segmentor_its_heads() -> None:
    message = r"\(teacher\): FasterRCNN has no layer 'decode_head.conv_seg'"
    with pytest.raises(ConfigError, match=message):
        distiller(dict(a=layer('decode_head.conv_seg')), student=segmentor())
    pair = hint() | dict(layer='backbone', levels=[0, 1])
    model = distiller(dict(a=pair), student=segmentor())
    assert losses_of(model)['loss_kd_a'] > 0
