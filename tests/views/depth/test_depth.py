"""Depth maps of both models, where a depth was measured."""

from typing import Any

import pytest
import torch
from mmengine.structures import PixelData
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from tests.distillers.tiny import distiller, teacher_of
from tests.distillers.tiny_seg import segment_batch, segmentor

pytestmark = pytest.mark.host


def depth_estimator(base: int = 16, **changes: Any) -> dict[str, Any]:
    """A small ResNet under the only depth head of mmsegmentation."""
    channels = [base, 2 * base, 4 * base, 8 * base]
    model = segmentor(base)
    model['backbone'].update(
        num_stages=4, strides=(1, 2, 2, 2), dilations=(1,) * 4, out_indices=(0, 1, 2, 3)
    )
    model['data_preprocessor']['size'] = (64, 64)
    model['auxiliary_head'] = None
    model['type'] = 'mmseg.DepthEstimator'
    model['decode_head'] = (
        dict(
            type='mmseg.VPDDepthHead',
            in_channels=channels,
            max_depth=10.0,
            embed_dim=8,
            feature_dim=64,
            num_deconv_layers=2,
            num_deconv_filters=(8, 8),
            loss_decode=dict(type='mmseg.SiLogLoss'),
        )
        | changes
    )
    return model


def depth_batch(model: Any) -> dict[str, Any]:
    batch = segment_batch(model)
    generator = torch.Generator().manual_seed(4)
    for width, sample in zip((64, 48), batch['data_samples'], strict=True):
        sample.set_metainfo(dict(img_shape=(64, width)))
        depth = 8 * torch.rand(1, 64, 64, generator=generator)
        depth[:, :16] = 0  # not measured
        depth[:, :, width:] = 255  # as the host pads
        sample.gt_depth_map = PixelData(data=depth)
    return batch


def build(pairs: Any = None, teacher: Any = None) -> Any:
    pairs = pairs or dict(
        holistic=dict(
            view='depth.map',
            loss=dict(type='HolisticLoss', maps='raw', base_channels=8),
        ),
        hint=dict(view='depth.map', loss=dict(type='HintLoss', norm='l1')),
        pair=dict(layer='backbone', levels=[3], loss=dict(type='PairWiseLoss')),
    )
    return distiller(
        pairs,
        student=depth_estimator(),
        teacher=teacher_of(teacher or depth_estimator(max_depth=20.0)),
    )


def test_maps_are_what_the_task_loss_reads_and_eval_gives() -> None:
    model = build(
        dict(a=dict(view='depth.map', loss=dict(type='HolisticLoss', maps='raw')))
    )
    batch = depth_batch(model)
    seen: list[Any] = []
    with model.step(batch['inputs'], batch['data_samples']) as step:
        head = model.student.decode_head
        handle = head.depth_pred_layer.register_forward_hook(
            lambda *args: seen.append(args[2])
        )
        model.task_losses(step)
        handle.remove()
        (run,) = step.teachers.values()
        (found,) = model.match(step)['a']
    assert found is not None
    with torch.no_grad():
        teacher = run.model.decode_head.forward(run.model.extract_feat(batch['inputs']))
    assert_close(found.student, seen[0].sigmoid())  # of a depth of at most 10
    assert_close(found.teacher, teacher / 10)
    assert found.target is not None and found.mask is not None
    measured = torch.stack([item.gt_depth_map.data for item in batch['data_samples']])
    side = 64 // found.mask.shape[1]
    nearest = measured[:, :, side // 2 :: side, side // 2 :: side]
    nearest = nearest.where(nearest < 255, 0)
    assert_close(found.target, nearest / 10)
    assert torch.equal(found.mask, (nearest[:, 0] > 0).float())
    assert found.count == found.mask.sum()


def test_pair_wise_and_holistic_on_depth() -> None:
    pairs = dict(
        holistic=dict(
            view='depth.map',
            loss=dict(type='HolisticLoss', maps='raw', base_channels=8),
        ),
        pair=dict(layer='decode_head.decoder', loss=dict(type='PairWiseLoss')),
        l1=dict(view='depth.map', loss=dict(type='HintLoss', norm='l1')),
    )
    model = build(pairs)
    losses = model(**depth_batch(model), mode='loss')
    assert losses['loss_kd_pair'] > 0
    assert losses['loss_kd_l1'] > 0
    assert losses['loss_kd_holistic'].isfinite()
    model.parse_losses(losses)[0].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0


def test_a_segmentor_has_no_depth() -> None:
    with pytest.raises(
        ConfigError, match=r'\(teacher\): depth.map needs a VPDDepthHead'
    ):
        build(teacher=segmentor(8))
    with pytest.raises(ConfigError, match=r"predicts a depth\. .* view='depth\.map'"):
        build(dict(a=dict(view='seg.logits', loss=dict(type='PixelWiseLoss'))))
