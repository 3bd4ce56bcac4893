"""Gradients of the labels' cross-entropy by the images, of both segmentors."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError
from tests.distillers.tiny import distiller, teacher_of, weights_of
from tests.distillers.tiny_seg import (
    cascade,
    head,
    losses_of,
    segment_batch,
    segmentor,
)

pytestmark = pytest.mark.host


def build(
    student: Any = None, teacher: Any = None, weight: float = 1.0, **options: Any
) -> Any:
    pair = dict(
        view=dict(type='seg.gradient'),
        loss=dict(type='GradientATLoss', loss_weight=weight),
    )
    model = student or segmentor(decode=decode(4))
    other = teacher_of(teacher or segmentor(8, decode(8)), **options)
    return distiller(dict(gradient=pair), student=model, teacher=other)


def decode(base: int, **changes: Any) -> dict[str, Any]:
    options = dict(pool_scales=(1, 2), dropout_ratio=0.0) | changes
    return head('PSPHead', 2 * base, **options)


def gradient_of(model: Any, prepared: Any) -> torch.Tensor:
    """By a whole new run of the model, in its present mode."""
    images = prepared['inputs'].clone().requires_grad_()
    logits = model.decode_head.forward(model.extract_feat(images))
    total = torch.zeros(())
    for own, sample in zip(logits, prepared['data_samples'], strict=True):
        labels = sample.gt_sem_seg.data[None].float()
        labels = F.interpolate(labels, logits.shape[2:], mode='nearest-exact')
        entropy = F.cross_entropy(own[None], labels[:, 0].long(), ignore_index=255)
        total = total + entropy  # the mean over what is not ignored
    (found,) = torch.autograd.grad(total, images)
    return found


def test_both_are_gradients_of_the_images_losses() -> None:
    model = build()
    student = copy.deepcopy(model.student)
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    (item,) = matched(model)
    prepared = segment_batch(model)
    assert item.student.shape == (2, 3, 32, 32)
    assert item.student.requires_grad
    assert not item.teacher.requires_grad
    for own, found in ((item.student, student), (item.teacher, teacher)):
        assert_close(own, gradient_of(found, prepared), rtol=1e-3, atol=1e-7)
    # Of an image alone a teacher, in eval, says the same.
    prepared = {key: value[:1] for key, value in prepared.items()}
    alone = gradient_of(teacher, prepared)
    assert_close(item.teacher[:1], alone, rtol=1e-3, atol=1e-7)


def matched(model: Any) -> Any:
    prepared = segment_batch(model)
    with model.step(prepared['inputs'], prepared['data_samples']) as step:
        torch.manual_seed(3)
        model.task_losses(step)
        return model.match(step)['gradient']


def test_the_student_learns_through_its_gradient() -> None:
    model = build()
    parameter = model.student.decode_head.conv_seg.weight
    direction = torch.randn_like(parameter)
    model.double()
    model.teachers['teacher'].prepare(torch.device('cpu'))
    states = weights_of(model)

    def value(step: float) -> torch.Tensor:
        model.load_state_dict(states)
        parameter.data += step * direction
        (item,) = matched(model)
        loss = model.losses['gradient']
        found: torch.Tensor = loss(item.student, item.teacher)
        return found

    (derivative,) = torch.autograd.grad(value(0.0), parameter)
    step = 1e-4
    numeric = (value(step) - value(-step)).item() / (2 * step)
    assert (derivative * direction).sum().item() == pytest.approx(numeric, rel=1e-3)


def test_weight_zero_leaves_the_students_step_as_it_is() -> None:
    gradients = []
    for weight in (None, 0.0, 10.0):
        model = build(weight=weight or 0.0)
        plain = weight is None
        run = model.student if plain else model
        before = None if plain else weights_of(model.teachers['teacher'].model)
        total, _ = model.parse_losses(losses_of(run))
        total.backward()
        gradients.append(model.student.backbone.stem[0].weight.grad.clone())
        if before is not None and weight == 0:
            teacher = model.teachers['teacher'].model
            assert not teacher.training
            assert all(parameter.grad is None for parameter in teacher.parameters())
    assert torch.equal(gradients[0], gradients[1])
    assert not torch.equal(gradients[0], gradients[2])


def test_steps_bring_the_gradients_together() -> None:
    model = build(weight=1.0)
    optimizer = torch.optim.AdamW(model.student.parameters(), lr=1e-3)
    values = []
    for _ in range(6):
        value = losses_of(model)['loss_kd_gradient']
        values.append(value.item())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert values[-1] < values[0]


def test_nothing_stays_attached() -> None:
    model = build()
    losses_of(model)
    assert not model.student.backbone._forward_pre_hooks
    prepared = segment_batch(model)
    assert not prepared['inputs'].requires_grad


def test_losses_without_gradients_are_refused() -> None:
    model = build()
    with torch.no_grad(), pytest.raises(DistillationError, match=r'torch\.no_grad'):
        losses_of(model)


def test_models_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ConfigError, match="Remove the teacher's class_map and input_s"):
        build(input_scale=2.0)
    with pytest.raises(ConfigError, match=r'\(student\): the decode_head is a cascade'):
        build(student=cascade())
    sigmoid = dict(loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True))
    with pytest.raises(ConfigError, match='needs classes of a softmax'):
        build(
            segmentor(decode=decode(4, **sigmoid)),
            segmentor(8, decode(8, **sigmoid)),
        )
    other = segmentor(8, decode(8))
    other['data_preprocessor'] = other['data_preprocessor'] | dict(std=[1.0, 1.0, 1.0])
    model = build(teacher=other)
    with pytest.raises(DistillationError, match='normalise or pad images differently'):
        losses_of(model)
