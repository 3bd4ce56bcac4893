"""Transformers and RTMDet, as students and as teachers."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.losses import hint_distance
from kd_plugins.registry import MODELS
from kd_plugins.views.transformer.encoder import EncoderRecorder
from tests.distillers.tiny import (
    CLASSES,
    batch,
    config,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    teacher_of,
    weights_of,
)
from tests.distillers.tiny_dense import fcos
from tests.distillers.tiny_transformers import deformable_detr, detr, dino, rtmdet

pytestmark = pytest.mark.host
HINT = dict(type='HintLoss')
MEMORY = dict(memory=dict(view='encoder.memory', loss=HINT))
TEACHER = teacher_of(deformable_detr(8))
KINDS = {'detr': detr, 'deformable': deformable_detr, 'dino': dino}


def without_dropout(model: Any) -> None:
    """So that two passes give the same."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def host_memory(model: Any, inputs: Any, samples: Any) -> Any:
    """What the host's own forward hands from the encoder to the decoder."""
    found: list[Any] = []
    handle = model.encoder.register_forward_hook(
        lambda module, args, output: found.append(output)
    )
    with torch.no_grad():
        model.forward(inputs, samples, mode='tensor')
    handle.remove()
    return found[0]


@pytest.mark.parametrize('kind', KINDS)
def test_memory_is_what_both_decoders_read(kind: str) -> None:
    build = KINDS[kind]
    model = distiller(MEMORY, student=build(), teacher=teacher_of(build(8)))
    given: list[Any] = []
    model.student.encoder.register_forward_hook(
        lambda module, args, output: given.append(output)
    )
    with observed(model) as seen:
        matched = [item for item in seen.matched['memory'] if item is not None]
        samples = batch(model)['data_samples']
        rows = host_memory(seen.run.model, seen.inputs, samples)
    assert len(given) == 1
    sides = (4,) if kind == 'detr' else (16, 8, 4)
    assert [item.teacher.shape for item in matched] == [
        (2, rows.shape[2], side, side) for side in sides
    ]
    # Cell by cell, as the host flattens: levels, then rows, then columns.
    at = 0
    for item, side in zip(matched, sides, strict=True):
        assert item.student.requires_grad and not item.teacher.requires_grad
        for row in range(side):
            for column in range(side):
                assert_close(item.teacher[:, :, row, column], rows[:, at])
                assert torch.equal(item.student[:, :, row, column], given[0][:, at])
                at += 1
    assert at == rows.shape[1]


def test_memory_of_images_that_are_no_squares() -> None:
    model = distiller(MEMORY, student=dino(), teacher=teacher_of(dino(8)))
    sizes = ((32, 64), (28, 60))
    with observed(model, sizes=sizes) as seen:
        matched = [item for item in seen.matched['memory'] if item is not None]
        samples = batch(model, sizes=sizes)['data_samples']
        rows = host_memory(seen.run.model, seen.inputs, samples)
    cells = [item.teacher.permute(0, 2, 3, 1).flatten(1, 2) for item in matched]
    assert_close(torch.cat(cells, dim=1), rows)
    assert [item.teacher.shape[2:] for item in matched] == [(8, 16), (4, 8), (2, 4)]
    inside = torch.zeros(8, 16)
    inside[:7, :15] = 1
    mask = matched[0].mask
    assert mask is not None and torch.equal(mask[1], inside)


def test_tokens_on_the_padding_are_masked() -> None:
    model = distiller(MEMORY, student=deformable_detr(), teacher=TEACHER)
    with observed(model) as seen:
        first = seen.first('memory')
    mask = first.mask
    assert mask is not None and mask.shape == (2, 16, 16)
    # Images of 64x64 and 56x60, stride 4.
    assert bool((mask[0] == 1).all())
    inside = torch.zeros(16, 16)
    inside[:14, :15] = 1
    assert torch.equal(mask[1], inside)
    assert first.count == 16 * 16 + 14 * 15
    specs = model.pairs[0].tensors
    names = [f'encoder.memory[{level}]' for level in range(3)]
    assert [spec.name for spec in specs] == names
    assert [spec.context.level for spec in specs] == [0, 1, 2]


def test_loss_is_the_mean_over_levels_and_reaches_the_encoder() -> None:
    model = distiller(MEMORY, student=deformable_detr(), teacher=TEACHER)
    without_dropout(model.student)
    with observed(model) as seen:
        expected = [
            hint_distance(item.student, item.teacher, mask=item.mask)
            for item in seen.matched['memory']
            if item is not None
        ]
        assert seen.step.student.records[EncoderRecorder()]
    losses = losses_of(model)
    assert_close(losses['loss_kd_memory'], torch.stack(expected).mean())
    losses['loss_kd_memory'].backward()
    layer = model.student.encoder.layers[0].self_attn.value_proj
    assert layer.weight.grad.abs().sum() > 0


def test_the_teachers_decoder_does_not_run() -> None:
    model = distiller(MEMORY, student=dino(), teacher=teacher_of(dino(8)))
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    calls: list[str] = []
    for name in ('neck', 'encoder', 'decoder', 'bbox_head'):
        getattr(teacher, name).register_forward_hook(
            lambda module, args, output, name=name: calls.append(name)
        )
    before = weights_of(teacher)
    losses_of(model)
    assert calls == ['neck', 'encoder']
    for key, value in weights_of(teacher).items():
        assert torch.equal(before[key], value)
    for name in ('pre_transformer', 'forward_encoder'):
        assert name not in model.student.__dict__


def test_levels_and_widths_may_differ() -> None:
    view = dict(type='encoder.memory', levels=dict(student=[1, 2], teacher=[0, 1]))
    pair = dict(view=view, adapter=dict(type='ConvAdapter'), loss=HINT)
    model = distiller(
        dict(memory=pair),
        student=deformable_detr(),
        teacher=teacher_of(deformable_detr(8, 32)),
    )
    with observed(model) as seen:
        shapes = [
            (item.student.shape, item.teacher.shape, item.context.level)
            for item in seen.matched['memory']
            if item is not None
        ]
    assert shapes == [
        ((2, 16, 8, 8), (2, 32, 16, 16), 1),
        ((2, 16, 4, 4), (2, 32, 8, 8), 2),
    ]
    assert losses_of(model)['loss_kd_memory'] > 0


def test_a_teacher_of_larger_padding_sees_images_of_the_same_size() -> None:
    other = deformable_detr()
    other['data_preprocessor'] = dict(other['data_preprocessor'], pad_size_divisor=96)
    model = distiller(MEMORY, student=deformable_detr(), teacher=teacher_of(other))
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    teacher.load_state_dict(model.student.state_dict())
    with observed(model) as seen:
        assert seen.inputs.shape[2:] == (96, 96)
        matched = seen.first('memory')
        assert matched.teacher.shape == matched.student.shape
    masks: list[Any] = []
    original = teacher.pre_transformer

    def watched(*args: Any) -> Any:
        result = original(*args)
        masks.append(result[0]['feat_mask'])
        return result

    teacher.pre_transformer = watched
    losses_of(model)
    # 24x24 cells of 96x96 pixels, of which the first image has 16x16.
    first = masks[0][0, : 24 * 24].view(24, 24)
    assert not first[:16, :16].any() and first[16:].all() and first[:, 16:].all()


def test_an_enlarged_teacher_sees_the_padding_enlarged() -> None:
    teacher = teacher_of(deformable_detr(8), input_scale=2.0)
    pair = dict(view='encoder.memory', adapter=dict(type='ResizeAdapter'), loss=HINT)
    model = distiller(dict(memory=pair), student=deformable_detr(), teacher=teacher)
    with observed(model) as seen:
        mask = seen.first('memory').mask
    inside = torch.zeros(32, 32)  # images of 64x64 and 56x60, twice, stride 4
    inside[:28, :30] = 1
    assert mask is not None and torch.equal(mask[1], inside)
    assert bool((mask[0] == 1).all())
    assert losses_of(model)['loss_kd_memory'] > 0


@pytest.mark.parametrize('layer', ['backbone', 'backbone.layer3', 'neck'])
def test_features_of_transformers(layer: str) -> None:
    pair = dict(layer=layer, loss=HINT)
    for student, teacher in ((dino(), deformable_detr(4, 256)), (detr(), detr())):
        model = distiller(dict(hint=pair), student=student, teacher=teacher_of(teacher))
        losses = losses_of(model)
        assert losses['loss_kd_hint'].requires_grad
        model.parse_losses(losses)[0].backward()


def test_a_detector_of_another_kind_teaches_a_transformer_its_neck() -> None:
    pair = dict(hint=dict(layer='neck', loss=HINT))
    for teacher in (faster_rcnn(width=16), fcos(8, 16)):
        student = deformable_detr()
        model = distiller(pair, student=student, teacher=teacher_of(teacher))
        assert losses_of(model)['loss_kd_hint'] > 0


@pytest.mark.parametrize(
    ('pair', 'options', 'message'),
    [
        (
            dict(view='head.logits', loss=dict(type='KDLoss')),
            dict(student=deformable_detr(), teacher=TEACHER),
            r'\(student\): DeformableDETR answers by queries, .* be '
            r"compared: view='encoder\.memory', layer='backbone', layer='neck'\.",
        ),
        (
            dict(view='head.logits', loss=dict(type='KDLoss')),
            dict(student=fcos(), teacher=teacher_of(dino())),
            r'\(teacher\): DINO answers by queries',
        ),
        (
            dict(layer='decoder.layers.0', loss=HINT),
            dict(student=dino(), teacher=teacher_of(dino())),
            r"layer \(student\): 'decoder\.layers\.0' of DINO is no layer of its back",
        ),
        (
            dict(view='encoder.memory', loss=HINT),
            dict(student=dino(), teacher=teacher_of(fcos())),
            r'\(teacher\): FCOS has no encoder of a transformer, as encoder\.memory',
        ),
        (
            dict(view='encoder.memory', loss=HINT),
            dict(student=detr(), teacher=TEACHER),
            r'memory of the student has 1 levels, that of the teacher 3\. Choose',
        ),
        (
            dict(view=dict(type='encoder.memory', levels=[3]), loss=HINT),
            dict(student=dino(), teacher=TEACHER),
            r'view\.levels: encoder\.memory of the student gives 3 levels, .* no 3\.',
        ),
    ],
)
def test_what_cannot_be_matched_is_refused(
    pair: Any, options: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(pair=pair), **options))


def test_an_encoder_that_did_not_run_is_said() -> None:
    model = distiller(MEMORY, student=detr(), teacher=teacher_of(detr(8)))
    model.student.loss = lambda inputs, samples: {}
    message = r'pairs\.memory: .* encoder did not run while it computed its losses'
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


@pytest.mark.parametrize('kind', KINDS)
def test_student_of_a_transformer_is_the_hosts(kind: str) -> None:
    """Trained two steps, its weights load strictly into the plain model."""
    student = KINDS[kind]()
    model = distiller(MEMORY, student=student, teacher=teacher_of(student))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = weights_of(model.student)
    for _ in range(2):
        optimizer.zero_grad()
        model.parse_losses(losses_of(model))[0].backward()
        optimizer.step()
    plain = MODELS.build(student)
    plain.load_state_dict(model.student.state_dict(), strict=True)
    encoder = [key for key in before if key.startswith('encoder.') and 'weight' in key]
    assert encoder and not torch.equal(
        plain.state_dict()[encoder[0]], before[encoder[0]]
    )


# RTMDet.


def test_rtmdet_scores_the_same_points() -> None:
    pair = dict(logits=dict(view='head.logits', loss=dict(type='KDLoss')))
    model = distiller(pair, student=rtmdet(), teacher=teacher_of(rtmdet(16)))
    with observed(model) as seen:
        found = [item for item in seen.matched['logits'] if item is not None]
        teacher = seen.run.model
        with torch.no_grad():
            expected = teacher.bbox_head(teacher.extract_feat(seen.inputs))[0]
    assert [item.student.shape for item in found] == [
        (2, CLASSES, side, side) for side in (16, 8, 4)
    ]
    for item, logits in zip(found, expected, strict=True):
        assert_close(item.teacher, logits)
        assert item.context.activation == 'sigmoid'
    # Its points are the corners of their cells: of 56 rows the last begins at 52.
    assert found[0].mask is not None
    assert found[0].mask[1].sum() == 14 * 15
    losses = losses_of(model)
    model.parse_losses(losses)[0].backward()
    assert losses['loss_kd_logits'] > 0


def test_rtmdet_and_detectors_of_other_kinds_share_features() -> None:
    pair = dict(hint=dict(layer='neck', loss=HINT))
    for student, teacher in (
        (rtmdet(), fcos(8, 8)),
        (faster_rcnn(), rtmdet()),
        (rtmdet(), faster_rcnn(base=8)),
    ):
        model = distiller(pair, student=student, teacher=teacher_of(teacher))
        assert losses_of(model)['loss_kd_hint'] > 0


def test_points_of_other_offsets_are_refused() -> None:
    pair = dict(logits=dict(view='head.logits', loss=dict(type='KDLoss')))
    with pytest.raises(ConfigError, match='the anchors of student and teacher differ'):
        MODELS.build(config(pair, student=rtmdet(), teacher=teacher_of(fcos())))
