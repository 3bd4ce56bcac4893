"""Crossed heads: the teacher's head goes on from the student's features."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.views.dense.crossing import TOWERS, aligned
from tests.distillers.tiny import (
    BOXES,
    CLASSES,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    teacher_of,
)
from tests.distillers.tiny_dense import atss, fcos, gfl, retinanet, rtmdet

pytestmark = pytest.mark.host
MODELS = {'fcos': fcos, 'retinanet': retinanet, 'atss': atss, 'gfl': gfl}
# What each of them predicts, beside its classes.
VALUES = {
    'fcos': ('boxes', 'centerness'),
    'retinanet': ('boxes',),
    'atss': ('boxes', 'centerness'),
    'gfl': ('distributions',),
}
LOSSES = {
    'logits': dict(type='CrossKDLoss'),
    'boxes': dict(type='BoxIoULoss'),
    'distributions': dict(type='LDLoss', temperature=1.0),
    'centerness': dict(type='KDLoss'),
}
CASES = [(kind, layer) for kind in MODELS for layer in (0, 1, 2)]


def detector(kind: str, base: int = 4, width: int = 8, **head: Any) -> dict[str, Any]:
    model = MODELS[kind](base, width)
    model['bbox_head'].update(dict(stacked_convs=2) | head)
    return model


def pairs_of(kind: str, layer: int = 1) -> dict[str, Any]:
    return {
        value: dict(view=dict(type=f'cross.{value}', layer=layer), loss=LOSSES[value])
        for value in ('logits', *VALUES[kind])
    }


def build(
    kind: str = 'gfl', student: Any = None, teacher: Any = None, layer: int = 1
) -> Any:
    return distiller(
        pairs_of(kind, layer),
        student=student or detector(kind),
        teacher=teacher_of(teacher or detector(kind, base=8)),
    )


def twins(kind: str, layer: int = 1) -> Any:
    """A student that is its teacher, in eval: batch norms then agree."""
    model = build(kind, teacher=detector(kind), layer=layer)
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    model.student.load_state_dict(teacher.state_dict())
    for head in (model.student.bbox_head, teacher.bbox_head):
        with torch.no_grad():  # initial weights are small: none tells much
            for index, parameter in enumerate(head.parameters()):
                noise = torch.Generator().manual_seed(index)
                parameter += 0.1 * torch.randn(parameter.shape, generator=noise)
    return model.eval()


@pytest.mark.parametrize(('kind', 'layer'), CASES)
def test_of_equal_heads_it_is_the_teachers_own_prediction(
    kind: str, layer: int
) -> None:
    model = twins(kind, layer)
    with observed(model) as seen:
        for value in ('logits', *VALUES[kind]):
            found = seen.first(value)
            assert_close(found.student, found.teacher, rtol=1e-3, atol=1e-3)
            assert found.teacher.std() > 0.01
            assert found.student.requires_grad
            assert not found.teacher.requires_grad
    losses = losses_of(model)
    for value in ('logits', *VALUES[kind]):
        assert losses[f'loss_kd_{value}'].abs() < 1e-3


@pytest.mark.parametrize('kind', MODELS)
def test_scale_and_shift_of_each_channel_are_not_seen(kind: str) -> None:
    model = twins(kind)
    with torch.no_grad():
        for tower in ('cls_convs', 'reg_convs'):
            conv = getattr(model.student.bbox_head, tower)[0]
            last = conv.norm if conv.with_norm else conv.conv
            scale, shift = torch.linspace(0.5, 3, 8), torch.linspace(-1, 1, 8)
            last.weight.mul_(scale.view(-1, *[1] * (last.weight.dim() - 1)))
            last.bias.mul_(scale).add_(shift)
    with observed(model) as seen:
        for value in ('logits', *VALUES[kind]):
            found = seen.first(value)
            assert_close(found.student, found.teacher, rtol=1e-3, atol=1e-3)


def as_released(student: Tensor, teacher: Tensor) -> Tensor:
    """Channel by channel over batch and pixels, by torch's own deviation."""
    mapped = torch.empty_like(student)
    for channel in range(student.shape[1]):
        own, other = student[:, channel], teacher[:, channel]
        rest = (own - own.mean()) / (own.std() + 1e-6)
        mapped[:, channel] = rest * other.std() + other.mean()
    return mapped


def tower_features(model: Any, inputs: Tensor, layer: int) -> list[list[Tensor]]:
    """Before the activation of that convolution, of both towers, level by level."""
    found = []
    for tower in (model.bbox_head.cls_convs, model.bbox_head.reg_convs):
        maps = []
        for feature in model.extract_feat(inputs):
            for conv in tower[: max(layer - 1, 0)]:
                feature = conv(feature)
            if layer:
                feature = tower[layer - 1](feature, activate=False)
            maps.append(feature)
        found.append(maps)
    return found


def predictions(
    kind: str, head: Any, layer: int, level: int, cls: Tensor, reg: Tensor
) -> dict[str, Tensor]:
    """What is left of each head, written out; maps of one level."""
    for conv in head.cls_convs[layer:]:
        cls = conv(cls)
    for conv in head.reg_convs[layer:]:
        reg = conv(reg)
    if kind == 'retinanet':
        return {'logits': head.retina_cls(cls), 'deltas': head.retina_reg(reg)}
    scale = head.scales[level]
    if kind == 'gfl':
        logits, bins = head.gfl_cls(cls), scale(head.gfl_reg(reg))
        return {'logits': logits, 'distributions': bins}
    if kind == 'atss':
        return {
            'logits': head.atss_cls(cls),
            'deltas': scale(head.atss_reg(reg)),
            'centerness': head.atss_centerness(reg),
        }
    return {
        'logits': head.conv_cls(cls),
        'deltas': scale(head.conv_reg(reg)).exp(),
        'centerness': head.conv_centerness(cls),
    }


def decoded(kind: str, head: Any, deltas: list[Tensor]) -> Tensor:
    """Boxes (N, anchors, 4), by the host's coder, image by image."""
    priors = head.prior_generator.grid_priors(
        [item.shape[2:] for item in deltas], device='cpu'
    )
    images = []
    for image in range(len(deltas[0])):
        boxes = []
        for prior, level in zip(priors, deltas, strict=True):
            rows = level[image].permute(1, 2, 0).reshape(-1, 4)
            if kind == 'fcos':  # distances from the point to the edges
                corner = torch.cat([prior - rows[:, :2], prior + rows[:, 2:]], 1)
                boxes.append(corner)
            else:
                boxes.append(head.bbox_coder.decode(prior, rows))
        images.append(torch.cat(boxes))
    return torch.stack(images)


@pytest.mark.parametrize(('kind', 'layer'), CASES)
def test_equals_the_released_code_written_out(kind: str, layer: int) -> None:
    model = build(kind, layer=layer).eval()
    with observed(model) as seen:
        teacher = seen.run.model
        own = tower_features(model.student, seen.inputs, layer)
        other = tower_features(teacher, seen.inputs, layer)
        for side in ('student', 'teacher'):
            outputs: dict[str, list[Tensor]] = {}
            for level in range(3):
                features = [item[level] for item in other]
                if side == 'student':
                    features = [
                        as_released(mine[level], its[level])
                        for mine, its in zip(own, other, strict=True)
                    ]
                if layer:
                    features = [F.relu(item) for item in features]
                found = predictions(kind, teacher.bbox_head, layer, level, *features)
                for name, item in found.items():
                    outputs.setdefault(name, []).append(item)
            columns = {'logits': CLASSES, 'distributions': 4 * 17, 'centerness': 1}
            for value in ('logits', *VALUES[kind]):
                if value == 'boxes':
                    expected = decoded(kind, teacher.bbox_head, outputs['deltas'])
                else:
                    rows = [
                        item.permute(0, 2, 3, 1).reshape(2, -1, columns[value])
                        for item in outputs[value]
                    ]
                    expected = torch.cat(rows, dim=1)
                read = getattr(seen.first(value), side)
                assert_close(read, expected.reshape(read.shape), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('kind', MODELS)
def test_gradient_passes_the_frozen_head_and_leaves_nothing_there(kind: str) -> None:
    batch_norm = dict(type='BN')  # whose statistics a teacher must not move
    model = build(
        kind,
        detector(kind, norm_cfg=batch_norm),
        detector(kind, base=8, norm_cfg=batch_norm),
    )
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    before = {name: item.clone() for name, item in teacher.state_dict().items()}
    losses = losses_of(model)
    sum(value for key, value in losses.items() if 'loss_kd' in key).backward()
    head = model.student.bbox_head
    assert model.student.backbone.conv1.weight.grad.any()
    assert model.student.neck.fpn_convs[0].conv.weight.grad.any()
    for tower in (head.cls_convs, head.reg_convs):
        assert tower[0].conv.weight.grad.any()
        # What follows is the teacher's: the student's own is left to its task.
        assert tower[1].conv.weight.grad is None
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    for name, item in teacher.state_dict().items():
        assert torch.equal(item, before[name])
    assert all('forward' not in vars(module) for module in teacher.modules())
    assert not [name for name in model.state_dict() if not name.startswith('student.')]


def test_the_teacher_runs_no_convolution_twice_for_nothing() -> None:
    head = dict(stacked_convs=3)
    model = build(
        student=detector('gfl', **head),
        teacher=detector('gfl', base=8, **head),
        layer=2,
    )
    teacher = model.teachers['teacher'].model.bbox_head
    names = [f'{tower}.{index}' for tower in TOWERS for index in range(3)]
    calls: dict[str, list[int]] = {name: [] for name in names}
    for name, found in calls.items():
        layer = teacher.get_submodule(name).conv
        layer.register_forward_hook(lambda *_, found=found: found.append(1))
    losses_of(model)
    # Three levels of its own prediction; crossed, both pairs together, the last again.
    for name, found in calls.items():
        assert len(found) == (6 if name.endswith('2') else 3)


def test_batch_norms_of_the_student_run_once() -> None:
    norm = dict(norm_cfg=dict(type='BN'))
    model = build(student=detector('gfl', **norm), teacher=detector('gfl', **norm))
    losses_of(model)
    # Once a level, by the student's own loss.
    tracked = model.student.bbox_head.cls_convs[0].norm.num_batches_tracked
    assert tracked == 3


@pytest.mark.parametrize('kind', MODELS)
def test_weights_and_counts_are_the_hosts(kind: str) -> None:
    model = build(kind)
    head = model.student.bbox_head
    results: list[Any] = []
    original = head.get_targets

    def kept(*args: Any, **kwargs: Any) -> Any:
        results.append(original(*args, **kwargs))
        return results[-1]

    head.get_targets = kept
    sizes, boxes = ((64, 64), (24, 24)), (BOXES[0], [[3, 2, 20, 21]])
    with observed(model, sizes=sizes, boxes=boxes) as seen:
        logits = seen.first('logits')
        others = [seen.first(value) for value in VALUES[kind]]
    del head.get_targets
    (result,) = results
    if kind == 'fcos':
        labels = torch.cat([level.view(2, -1) for level in result[0]], 1)
        weights = torch.ones(labels.shape)
    else:
        first = 0 if kind == 'retinanet' else 1
        labels, weights = (torch.cat(item, 1) for item in result[first : first + 2])
        assert (weights == 0).any()  # the second image is padded
    positives = (labels < CLASSES).sum()
    assert positives > 2
    assert logits.mask is not None
    assert_close(logits.mask, weights.flatten())
    assert logits.count == positives
    if kind != 'fcos':
        assert logits.count == result[-1]  # the host's avg_factor
    confidence = logits.teacher.sigmoid().amax(1) * (weights.flatten() > 0)
    for other in others:
        assert_close(other.mask, confidence)
        expected = confidence.sum() if kind == 'gfl' else positives.float()
        assert_close(other.count, expected)


def test_losses_of_gfl_by_the_papers_sums() -> None:
    model = build('gfl')
    with observed(model) as seen:
        logits, edges = seen.first('logits'), seen.first('distributions')
        assert logits.mask is not None and edges.mask is not None
        each, divergence = [], []
        for row in range(len(logits.student)):
            answers = logits.teacher[row].sigmoid()
            probs = logits.student[row].sigmoid()
            entropy = F.binary_cross_entropy(probs, answers, reduction='none')
            each.append(((probs - answers).abs() * entropy).sum())
        for edge in range(4):
            divergence.append(
                F.kl_div(
                    edges.student[:, edge].log_softmax(1),
                    edges.teacher[:, edge].softmax(1),
                    reduction='none',
                ).sum(1)
            )
        cls = (logits.mask * torch.stack(each)).sum() / logits.count
        reg = (edges.mask * torch.stack(divergence).sum(0) / 4).sum() / edges.mask.sum()
    losses = losses_of(model)
    assert cls > 0 and reg > 0
    assert_close(losses['loss_kd_logits'], cls, rtol=1e-4, atol=1e-8)
    assert_close(losses['loss_kd_distributions'], reg, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize('kind', MODELS)
@pytest.mark.parametrize('boxes', [([], BOXES[1]), ([], [])])
def test_images_without_boxes_count_as_one_positive(kind: str, boxes: Any) -> None:
    model = build(kind)
    with observed(model, boxes=boxes) as seen:
        count = seen.first('logits').count
    assert count == 2 if not any(boxes) else count > 1
    losses = losses_of(model, boxes=boxes)
    for value in ('logits', *VALUES[kind]):
        loss = losses[f'loss_kd_{value}']
        assert loss.isfinite() and loss.requires_grad and loss < 1e4


@pytest.mark.parametrize('kind', MODELS)
def test_under_autocast_and_over_accumulated_steps(kind: str) -> None:
    model = build(kind)
    keys = [f'loss_kd_{value}' for value in ('logits', *VALUES[kind])]
    losses = losses_of(model)
    plain = {key: losses[key].item() for key in keys}
    weight = model.student.neck.fpn_convs[0].conv.weight
    gradients = []
    for _ in range(2):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = losses_of(model)
        model.parse_losses(losses)[0].backward()
        assert weight.grad.isfinite().all()
        gradients.append(weight.grad.clone())
    assert gradients[1].norm() > 1.5 * gradients[0].norm()
    for key in keys:
        assert losses[key].item() == pytest.approx(plain[key], rel=0.2, abs=1e-3)


def test_all_that_trains_gets_a_gradient_and_a_copy_goes_on() -> None:
    """So DDP waits for nothing, and an EMA's deep copy crosses the same teacher."""
    model = build()
    model.parse_losses(losses_of(model))[0].backward()
    assert all(
        parameter.grad is not None
        for parameter in model.parameters()
        if parameter.requires_grad
    )
    names = [name for name, _ in model.named_parameters()]
    assert names == [f'student.{name}' for name, _ in model.student.named_parameters()]
    copied = copy.deepcopy(model)
    for key, value in losses_of(copied).items():
        if 'loss_kd' in key:
            assert value.requires_grad


def test_one_pixel_of_one_image_is_the_teachers() -> None:
    """No deviation can be told of it: its mean is all that there is."""
    student = torch.randn(1, 3, 1, 1, requires_grad=True)
    teacher = torch.randn(1, 3, 1, 1)
    found = aligned(student, teacher)
    assert torch.equal(found, teacher)
    found.sum().backward()
    assert student.grad is not None and not student.grad.any()
    flat = torch.ones(2, 3, 4, 4, requires_grad=True)
    found = aligned(flat, torch.randn(2, 3, 4, 4))
    found.sum().backward()
    assert found.isfinite().all()
    assert flat.grad is not None and flat.grad.isfinite().all()


def test_gradient_of_the_alignment_is_that_of_the_released_code() -> None:
    """Mean and deviation of the student's feature take their part of it."""
    student = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    teacher = 2 * torch.randn(2, 3, 4, 5, dtype=torch.float64) + 1
    weights = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((weights * form(student, teacher)).sum(), student)[0]
        for form in (aligned, as_released)
    )
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_normalised_distances_of_fcos_are_boxes_in_pixels() -> None:
    """In its eval such a head gives pixels, in training strides."""
    head = dict(norm_on_bbox=True)
    model = build(
        'fcos', detector('fcos', **head), detector('fcos', base=8, **head), layer=1
    )
    with observed(model) as seen:
        boxes = seen.first('boxes')
        teacher = seen.run.model
        assert not teacher.bbox_head.training
        with torch.no_grad():
            deltas = list(teacher.bbox_head(teacher.extract_feat(seen.inputs))[1])
    expected = decoded('fcos', teacher.bbox_head, deltas)
    assert_close(boxes.teacher, expected.reshape(-1, 4))
    losses_of(model)['loss_kd_boxes'].backward()
    assert model.student.bbox_head.reg_convs[0].conv.weight.grad.any()


def test_the_teacher_may_know_other_classes_and_pad_more() -> None:
    teacher = detector('gfl', base=8, num_classes=7)
    teacher['data_preprocessor'] = teacher['data_preprocessor'] | dict(
        pad_size_divisor=128
    )
    model = build(teacher=teacher)
    with observed(model) as seen:
        found = seen.first('logits')
        assert found.student.shape == found.teacher.shape == (2 * 336, 7)
    assert losses_of(model)['loss_kd_logits'] > 0
    assert not any(pair.view.requires_same_classes for pair in model.pairs)
    assert 'cross.logits after 1' in model.summary()


def test_the_shorthand_crosses_after_three_convolutions() -> None:
    pairs = dict(cls=dict(view='cross.logits', loss=LOSSES['logits']))
    four = [detector('gfl', base, stacked_convs=4) for base in (4, 8)]
    model = distiller(pairs, student=four[0], teacher=teacher_of(four[1]))
    (losses_of(model)['loss_kd_cls']).backward()
    head = model.student.bbox_head
    assert head.cls_convs[2].conv.weight.grad.any()
    assert head.cls_convs[3].conv.weight.grad is None


def shared_rtmdet(base: int = 4) -> dict[str, Any]:
    """RTMDet whose towers are those of an ATSSHead, which it inherits."""
    model = rtmdet(base)
    model['bbox_head'].update(type='mmdet.RTMDetHead', norm_cfg=dict(type='BN'))
    del model['bbox_head']['exp_on_reg']
    return model


# It chooses among its anchors in the loss itself.
FREE = dict(
    type='mmdet.FreeAnchorRetinaHead',
    loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=0.11),
)
SEPARATE = dict(type='mmdet.RetinaSepBNHead', num_ins=3)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(teacher=detector('gfl', width=16)),
            r"pairs\.logits\.view: the teacher's convolutions .* after convolution 1 "
            r'of bbox_head expected 16 .* got 8\. Set bbox_head\.feat_channels to 16',
        ),
        (
            dict(teacher=detector('gfl', width=16), layer=0),
            r'behind the neck expected 16 .* got 8\. Set neck\.out_channels and bbox',
        ),
        (
            dict(layer=3),
            r'view.layer \(student\): is 3, but the towers of bbox_head have 2 .*'
            r'Choose layer=0 to 2\.(.|\n)*view.layer \(teacher\): is 3',
        ),
        (dict(layer=-1), 'layer must be a whole number >= 0, got -1'),
        (dict(layer=True), 'layer must be a whole number >= 0, got True'),
        (
            dict(kind='fcos', teacher=detector('atss')),
            r'the anchors of student and teacher differ: student a MlvlPointGenerator, '
            r'teacher AnchorGenerator',
        ),
        (
            dict(kind='atss', student=detector('gfl'), teacher=detector('gfl', base=8)),
            r'GFLHead predicts no boxes, but logits and distributions\. Of these two '
            r"models can be compared: view='head\.logits', ",
        ),
        (
            dict(student=detector('atss'), teacher=detector('atss', base=8)),
            r'ATSSHead predicts no distributions, but logits, boxes and centerness\.',
        ),
        (
            dict(
                kind='fcos',
                student=detector('retinanet'),
                teacher=detector('retinanet', base=8),
            ),
            r'RetinaHead predicts no centerness, but logits and boxes\.',
        ),
        (
            dict(kind='retinanet', teacher=detector('retinanet', **SEPARATE)),
            r'\(teacher\): crossed heads need a GFLHead, .* a RetinaSepBNHead',
        ),
        (
            dict(kind='atss', student=shared_rtmdet(), teacher=shared_rtmdet(8)),
            r'\(student\): crossed heads need a GFLHead, .* is a RTMDetHead\.',
        ),
        (dict(student=faster_rcnn()), r'\(student\): FasterRCNN has no bbox_head'),
        (
            dict(
                kind='retinanet',
                teacher=detector(
                    'retinanet',
                    loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False),
                ),
            ),
            r'\(teacher\): RetinaHead trains its classes by a softmax over them and '
            r'the background, and cross\.logits reads .* Set use_sigmoid=True in bbox_',
        ),
        (
            dict(kind='retinanet', student=detector('retinanet', **FREE)),
            r'\(student\): cross\.\* weighs points .* a FreeAnchorRetinaHead, which',
        ),
    ],
)
def test_what_cannot_be_crossed_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_a_scaled_input_has_other_points() -> None:
    with pytest.raises(ConfigError, match='sees its input scaled by 2'):
        distiller(
            pairs_of('gfl'),
            student=detector('gfl'),
            teacher=teacher_of(detector('gfl', base=8), input_scale=2.0),
        )


def test_a_head_that_assigns_elsewhere_is_told() -> None:
    model = build()
    head = model.student.bbox_head
    head.loss = lambda features, samples: dict(loss_cls=head(features)[0][0].sum())
    with pytest.raises(DistillationError, match=r"pairs\.\w+: .*by 'get_targets'"):
        losses_of(model)


@pytest.mark.filterwarnings('ignore:Sparse invariant checks')  # the host's
def test_of_a_teacher_that_assigns_otherwise_only_the_answers_count() -> None:
    model = build('retinanet', teacher=detector('retinanet', base=8, **FREE))
    assert losses_of(model)['loss_kd_boxes'] > 0


def test_each_of_two_teachers_goes_on_by_its_own_head() -> None:
    one, other = (
        teacher_of(detector('gfl', base=base, feat_channels=8)) for base in (8, 4)
    )
    cross = dict(view=dict(type='cross.logits', layer=1), loss=LOSSES['logits'])
    model = distiller(
        dict(a=cross | dict(teacher='one'), b=cross | dict(teacher='other')),
        student=detector('gfl'),
        teacher=dict(one=one, other=other),
    )
    with torch.no_grad():
        for teacher in model.teachers.values():
            teacher.prepare(torch.device('cpu'))
        model.teachers['other'].model.bbox_head.gfl_cls.bias += 5
    with observed(model) as seen:
        first, second = (seen.first(name) for name in 'ab')
    assert second.teacher.mean() > first.teacher.mean() + 4
    assert second.student.mean() > first.student.mean() + 4


def test_the_summary_knows_how_many_bins_an_edge_has() -> None:
    pairs = {pair.name: pair for pair in build('gfl').pairs}
    (spec,) = pairs['distributions'].tensors
    assert spec.student == spec.teacher == (-1, 4, 17)
