"""The dry run before training: at a size that runs, in the mode that trains."""

from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.views import Probe
from kd_plugins.views.probe import declared_sizes
from tests.distillers import tiny_seg
from tests.distillers.tiny import config, distiller, faster_rcnn, teacher_of
from tests.distillers.tiny_dense import fcos, retinanet
from tests.distillers.tiny_seg import head, segmentor

HINT = dict(type='HintLoss')
NECK = dict(a=dict(layer='neck', loss=HINT))
PIXELS = dict(a=dict(view='seg.logits', loss=HINT))
BACKBONE = dict(a=dict(layer='backbone', loss=HINT))


def sizes_of(pairs: Any, model: Any) -> list[tuple[int, ...]]:
    """Of the maps that the first pair compares."""
    built = MODELS.build(config(pairs, model, teacher_of(model)))
    return [tuple(spec.student[-2:]) for spec in built.pairs[0].tensors]


def of_size(side: int, model: dict[str, Any]) -> dict[str, Any]:
    preprocessor = model['data_preprocessor'] | dict(size=(side, side))
    return model | dict(data_preprocessor=preprocessor)


def lraspp() -> dict[str, Any]:
    """Pools 49 x 49 pixels of its last map, of stride 8: 392 of an image."""
    model = segmentor(
        decode=head(
            'LRASPPHead',
            8,
            in_channels=(4, 8, 16),
            in_index=(0, 1, 2),
            branch_channels=(4, 4),
            input_transform='multiple_select',
        )
    )
    model['backbone'].update(
        num_stages=3, strides=(1, 2, 1), dilations=(1, 1, 2), out_indices=(0, 1, 2)
    )
    del model['auxiliary_head']
    return model


def test_a_head_that_pools_much_is_run_at_the_size_of_its_data() -> None:
    assert sizes_of(PIXELS, of_size(400, lraspp())) == [(100, 100)]


def test_or_at_the_smallest_standard_one_that_runs() -> None:
    assert sizes_of(PIXELS, of_size(32, lraspp())) == [(128, 128)]


def test_the_smallest_standard_size_comes_first() -> None:
    assert sizes_of(PIXELS, of_size(1024, segmentor())) == [(16, 16)]


def test_then_the_others_by_area() -> None:
    student = MODELS.build(of_size(400, segmentor()))
    teacher = MODELS.build(of_size(64, segmentor()))
    teacher.test_cfg = dict(mode='slide', crop_size=(512, 1024))
    sizes = Probe(student, teacher).sizes()
    sides = (128, 64, 256, 400, 512)
    assert sizes == [*((side, side) for side in sides), (512, 1024)]


def test_what_a_model_says_of_its_images() -> None:
    model = nn.Module()
    assert declared_sizes(model) == []
    model.backbone = nn.Module()
    model.backbone.img_size = 224
    assert declared_sizes(model) == [(224, 224)]
    model.backbone.img_size = [96, 160]
    assert declared_sizes(model) == [(96, 160)]


def test_layers_of_ssd_that_shrink_without_padding() -> None:
    model = retinanet()
    model['type'] = 'mmdet.SingleStageDetector'
    model['backbone'] = model['backbone'] | dict(out_indices=(1, 2))
    channels = (8, 16, 16, 16, 16)
    model['neck'] = dict(
        type='mmdet.SSDNeck',
        in_channels=(8, 16),
        out_channels=channels,
        level_strides=(2, 2, 1),
        level_paddings=(1, 1, 0),
        l2_norm_scale=None,
    )
    model['bbox_head'] = dict(
        type='mmdet.SSDHead',
        num_classes=3,
        in_channels=channels,
        anchor_generator=dict(
            type='mmdet.SSDAnchorGenerator',
            strides=[8, 16, 32, 64, 128],
            ratios=[[2]] * 5,
            min_sizes=[20, 40, 80, 120, 160],
            max_sizes=[40, 80, 120, 160, 200],
        ),
    )
    assert sizes_of(NECK, model) == [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)]


def test_one_pixel_under_group_norm() -> None:
    model = fcos()
    model['neck'] = model['neck'] | dict(
        num_outs=6, norm_cfg=dict(type='GN', num_groups=8), add_extra_convs='on_output'
    )
    model['bbox_head'] = model['bbox_head'] | dict(
        strides=[4, 8, 16, 32, 64, 128], regress_ranges=((-1, 1e8),) * 6
    )
    assert sizes_of(NECK, model)[-1] == (2, 2)  # at 128 it is a single one


@pytest.mark.host
def test_a_transformer_of_one_size() -> None:
    backbone = dict(  # its bias of positions is that of 10 x 10 patches
        type='mmseg.MAE',
        img_size=(160, 160),
        patch_size=16,
        embed_dims=16,
        num_layers=1,
        num_heads=2,
        out_indices=[0],
    )
    model = segmentor(backbone=backbone, auxiliary_head=None)
    assert sizes_of(BACKBONE, model) == [(10, 10)]


def test_a_model_that_runs_at_no_size_says_so_of_the_first() -> None:
    model = lraspp()
    model['decode_head'] = model['decode_head'] | dict(in_channels=(4, 8, 9))
    message = (
        r'model\.pairs\.a\.view: a dry run of the student .* \(1, 3, 128, 128\) fail'
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(PIXELS, model, teacher_of(segmentor())))


def ddrnet(base: int = 4) -> dict[str, Any]:
    """Two maps in training, one in evaluation."""
    return segmentor(
        backbone=dict(
            type='mmseg.DDRNet',
            channels=base,
            ppm_channels=4,
            norm_cfg=dict(type='BN'),
        ),
        decode_head=head(
            'DDRHead',
            4 * base,
            dropout_ratio=0.0,
            loss_decode=[dict(type='mmseg.OhemCrossEntropy', min_kept=100)] * 2,
        ),
        auxiliary_head=None,
    )


def pidnet(base: int = 4) -> dict[str, Any]:
    """Three maps in training, one in evaluation."""
    return segmentor(
        backbone=dict(
            type='mmseg.PIDNet',
            channels=base,
            ppm_channels=4,
            norm_cfg=dict(type='BN'),
        ),
        auxiliary_head=None,
    )


@pytest.mark.host
@pytest.mark.parametrize(
    ('model', 'count', 'level'), [(ddrnet, 2, 1), (pidnet, 3, 1)], ids=['ddr', 'pid']
)
def test_levels_are_those_of_training_for_the_student(
    model: Any, count: int, level: int
) -> None:
    message = (
        rf"model\.pairs\.a\.levels: student 'backbone' gives {count} maps \(1, .*, "
        r"teacher 'backbone' 1 \(1, 16, 16, 16\)\. Choose as many of both: levels=dict"
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(BACKBONE, model(), teacher_of(model())))
    levels = dict(student=[level], teacher=[0])
    built = MODELS.build(
        config(
            dict(a=BACKBONE['a'] | dict(levels=levels)), model(), teacher_of(model())
        )
    )
    assert built.pairs[0].tensors[0].student == built.pairs[0].tensors[0].teacher


@pytest.mark.host
@pytest.mark.parametrize('teacher', [ddrnet, segmentor], ids=['ddrnet', 'pspnet'])
def test_a_model_of_other_maps_in_training_trains(teacher: Any) -> None:
    levels = dict(student=[1], teacher=[0])
    adapter = dict(type='ConvAdapter')
    pairs = dict(
        a=dict(layer='backbone', levels=levels, adapter=adapter, loss=HINT),
        b=dict(view='seg.logits', loss=dict(type='PixelWiseLoss')),
    )
    model = distiller(pairs, ddrnet(), teacher_of(teacher(8)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        losses = tiny_seg.losses_of(model)
        assert losses['loss_kd_a'] > 0 and losses['loss_kd_b'] > 0
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()


def test_the_dry_run_moves_no_statistics_and_keeps_modes() -> None:
    student = MODELS.build(faster_rcnn())
    before = {key: value.clone() for key, value in student.state_dict().items()}
    modes = [module.training for module in student.modules()]
    seen: list[bool] = []
    with Probe(student, student).run('student', (), gradient=True) as run:
        seen.append(student.backbone.training)
        assert run.features[0].requires_grad
        assert not student.backbone.bn1.training
    with Probe(student, student).run('teacher', ()) as run:
        seen.append(student.backbone.training)
        assert not run.features[0].requires_grad
    assert seen == [True, False]
    assert [module.training for module in student.modules()] == modes
    for key, value in student.state_dict().items():
        assert torch.equal(value, before[key])
