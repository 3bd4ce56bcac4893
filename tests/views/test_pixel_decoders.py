"""Heads that read more than features: their pixel decoder is a layer, no more."""

import re
from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.teachers import model_config
from kd_plugins.views.heads import readable_parts
from tests.distillers import tiny_seg
from tests.distillers.tiny import CLASSES, config, distiller, observed, teacher_of

pytestmark = pytest.mark.host
_WIDTHS = dict(
    embed_dims=16,
    feedforward_channels=32,
    num_heads=2,
    num_groups=4,
    num_feats=8,
    feat_channels=16,
    out_channels=16,
    num_queries=5,
    num_points=32,
    num_layers=1,
    in_channels=[4, 8, 16, 32],
)


def narrowed(item: Any) -> Any:
    """A configuration of a few thousand weights."""
    if isinstance(item, dict):
        return type(item)(
            {key: _WIDTHS.get(key) or narrowed(value) for key, value in item.items()}
        )
    if isinstance(item, list):
        return [narrowed(entry) for entry in item]
    return item


def _small(model: Any, head: str) -> Any:
    del model.backbone.init_cfg
    model.backbone.update(
        depth=18,
        base_channels=4,
        stem_channels=4,
        norm_cfg=dict(type='BN'),
        norm_eval=False,
    )
    model[head] = narrowed(model[head])
    encoder = model[head].pixel_decoder.encoder
    if 'num_points' in encoder.layer_cfg.self_attn_cfg:
        encoder.layer_cfg.self_attn_cfg.num_points = 2
    return model


def detector(name: str) -> Any:
    """Mask2Former or MaskFormer, of things alone."""
    model = _small(model_config(dict(cfg=f'mmdet::{name}')), 'panoptic_head')
    head = model.panoptic_head
    head.update(num_things_classes=CLASSES, num_stuff_classes=0)
    head.loss_cls.class_weight = [1.0] * CLASSES + [0.1]
    model.panoptic_fusion_head.update(num_things_classes=CLASSES, num_stuff_classes=0)
    if 'num_points' in model.train_cfg:
        model.train_cfg.num_points = 32
    model.data_preprocessor.update(batch_augments=None, pad_seg=False)
    return model


def mask2former() -> Any:
    return detector('mask2former/mask2former_r50_8xb2-lsj-50e_coco.py')


def maskformer() -> Any:
    return detector('maskformer/maskformer_r50_ms-16xb1-75e_coco.py')


def segmentor() -> Any:
    """Mask2Former of mmseg."""
    name = 'mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py'
    model = _small(model_config(dict(cfg=name)), 'decode_head')
    model.decode_head.num_classes = tiny_seg.CLASSES
    model.decode_head.loss_cls.class_weight = [1.0] * tiny_seg.CLASSES + [0.1]
    model.decode_head.train_cfg.num_points = 32
    model.data_preprocessor.size = (32, 32)
    return model


def condinst() -> Any:
    name = 'mmdet::condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py'
    model = model_config(dict(cfg=name))
    del model.backbone.init_cfg
    return model


def pair(layer: str, **options: Any) -> dict[str, Any]:
    return dict(layer=layer, loss=dict(type='HintLoss')) | options


PIXELS = 'panoptic_head.pixel_decoder'


@pytest.mark.parametrize('model', [mask2former, maskformer])
def test_equal_detectors_give_equal_maps_of_padded_images(model: Any) -> None:
    pairs = dict(
        maps=pair(PIXELS),
        inner=pair(f'{PIXELS}.mask_feature'),
        backbone=pair('backbone'),
    )
    distilled = distiller(pairs, model(), teacher_of(model()))
    teacher = distilled.teachers['teacher']
    teacher.prepare(torch.device('cpu'))
    teacher.model.load_state_dict(distilled.student.state_dict())
    head = teacher.model.panoptic_head
    head.transformer_decoder.forward = head.forward = None  # never run
    distilled.eval()  # norms and dropout as in the teacher
    # Of the second image, half of the coarsest level is padding.
    with observed(distilled, masks=True, sizes=((64, 64), (30, 40))) as seen:
        assert set(seen.matched) == set(pairs)
        for name, items in seen.matched.items():
            for item in items:
                assert item is not None
                torch.testing.assert_close(item.student, item.teacher, msg=name)
                assert item.student.requires_grad
    # The decoder's mask features first, then its memory, level by level.
    names = [spec.name for spec in distilled.pairs[2].tensors]
    assert distilled.pairs[2].name == 'maps'
    number = 4 if model is mask2former else 2
    assert names == [f'{PIXELS}[{level}]' for level in range(number)]
    assert distilled.pairs[2].tensors[0].student[1:] == (16, 32, 32)


def test_it_runs_once_for_all_pairs() -> None:
    pairs = dict(a=pair(PIXELS), b=pair(f'{PIXELS}.mask_feature'))
    distilled = distiller(pairs, mask2former(), teacher_of(mask2former()))
    calls: list[str] = []
    head = distilled.teachers['teacher'].model.panoptic_head
    head.pixel_decoder.register_forward_hook(lambda *_: calls.append('pixels'))
    with observed(distilled, masks=True):
        pass
    assert calls == ['pixels']


def test_the_image_within_its_padding_grows_with_the_teachers_input() -> None:
    pairs = dict(a=pair(PIXELS, adapter=dict(type='ResizeAdapter')))
    teacher = teacher_of(maskformer(), input_scale=2.0)
    distilled = distiller(pairs, maskformer(), teacher)
    with observed(distilled, masks=True) as seen:
        assert seen.run.image_sizes() == [(128, 128), (112, 120)]


def test_of_mmseg() -> None:
    layer = 'decode_head.pixel_decoder'
    pairs = dict(a=pair(layer), b=pair(f'{layer}.mask_feature'))
    torch.manual_seed(0)
    distilled = MODELS.build(config(pairs, segmentor(), teacher_of(segmentor())))
    distilled.init_weights()
    losses = tiny_seg.losses_of(distilled.train())
    assert losses['loss_kd_a'] > 0 and losses['loss_kd_b'] > 0
    (losses['loss_kd_a'] + losses['loss_kd_b']).backward()
    decoder = distilled.student.decode_head.pixel_decoder
    assert decoder.mask_feature.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('model', 'layer', 'message'),
    [
        (
            mask2former,
            'panoptic_head.transformer_decoder',
            "layer (student): 'panoptic_head.transformer_decoder' lies in "
            'Mask2FormerHead of Mask2Former, which reads batch_data_samples beside '
            'the features: for these the teacher would have to run its losses.',
        ),
        (
            mask2former,
            'panoptic_fusion_head',
            'MaskFormerFusionHead of Mask2Former, which has no forward of its own. '
            "Of these two models can be compared: layer='backbone', ",
        ),
        (maskformer, 'panoptic_head', "layer='panoptic_head.pixel_decoder'."),
        (segmentor, 'decode_head', "layer='decode_head.pixel_decoder'."),
        (
            condinst,
            'mask_head',
            'CondInstMaskHead of CondInst, which reads positive_infos beside the '
            'features: for these the teacher would have to run its losses. Of these '
            "two models can be compared: view='head.logits', layer='backbone.layer4', "
            "layer='neck'.",
        ),
    ],
    ids=['decoder', 'fusion', 'head', 'mmseg', 'condinst'],
)
def test_what_lies_behind_is_refused_by_name(
    model: Any, layer: str, message: str
) -> None:
    pairs = dict(a=pair(layer))
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        MODELS.build(config(pairs, model(), teacher_of(model())))
    assert 'Error' not in str(caught.value)


@pytest.mark.parametrize('model', [mask2former, segmentor, condinst])
def test_every_readable_part_can_be_distilled(model: Any) -> None:
    student = model()
    student.backbone.frozen_stages = -1
    parts = readable_parts(MODELS.build(student))
    pairs = {f'p{number}': pair(part) for number, part in enumerate(parts)}
    distilled = MODELS.build(config(pairs, student, teacher_of(student)))
    assert len(distilled.pairs) == len(parts)
