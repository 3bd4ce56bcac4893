"""Target transforms of a pair: what its loss is given, and where it is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import logit_l2, softened_divergence
from kd_plugins.schedules import Clock
from kd_plugins.target_transforms import (
    ComparedRows,
    CWTMTransform,
    std_scaled,
)

from .tiny import distiller, losses_of, observed, teacher_of
from .tiny_dense import fcos, retinanet
from .tiny_seg import segmentor

NOISY = dict(type='NoisyTeacherTransform', noise_std=0.3, share=1.0)


def pair(
    transform: Any, loss: str = 'LogitL2Loss', view: str = 'roi.logits', **changes: Any
) -> dict[str, Any]:
    return dict(view=view, target_transform=transform, loss=dict(type=loss)) | changes


def at(model: Any, iteration: int) -> Any:
    model.set_clock(Clock(iteration, 0, 100, None, by_epoch=False))
    return losses_of(model)


def test_the_loss_is_given_what_the_transform_makes_of_both() -> None:
    model = distiller(dict(one=pair(dict(type='StdScalingTransform'), 'KDLoss')))
    assert 'KDLoss behind StdScalingTransform' in model.summary()
    with observed(model) as seen:
        item = seen.first('one')
        losses = model.pairs[0].losses(seen.step, seen.matched['one'])
    expected = softened_divergence(
        std_scaled(item.student), std_scaled(item.teacher), mask=item.mask
    )
    assert_close(losses['loss_kd_one'], expected)
    losses['loss_kd_one'].backward()
    assert model.student.roi_head.bbox_head.fc_cls.weight.grad.any()


def test_a_teacher_weighs_the_labels_of_the_student() -> None:
    cwtm = pair(dict(type='CWTMTransform'), 'LabelSmoothingLoss')
    cwtm['loss']['smoothing'] = 0.0
    model = distiller(dict(cwtm=cwtm))
    with observed(model) as seen:
        item = seen.first('cwtm')
        assert model.pairs[0].teacher == 'teacher'
        losses = model.pairs[0].losses(seen.step, seen.matched['cwtm'])
    rows = ComparedRows(item.student, item.teacher, item.mask)
    weights = CWTMTransform()(rows, item.context).mask
    each = torch.nn.functional.cross_entropy(
        item.student, item.target, reduction='none'
    )
    assert weights is not None and weights.std() > 0
    assert_close(losses['loss_kd_cwtm'], (weights * each).sum() / item.count)


@pytest.mark.parametrize(
    ('view', 'student', 'run'),
    [
        ('roi.logits', None, losses_of),
        ('head.logits', retinanet(), losses_of),
    ],
)
def test_noise_is_of_an_image_and_of_a_step(view: str, student: Any, run: Any) -> None:
    options = (student, teacher_of(fcos() if student is None else student))
    given = () if student is None else options
    model = distiller(dict(noisy=pair(NOISY, view=view)), *given)
    first, second, again = (at(model, step) for step in (0, 1, 0))
    clean = distiller(dict(noisy=pair(None, view=view)), *given)
    clean.student.load_state_dict(model.student.state_dict())
    plain = at(clean, 0)
    values = [each['loss_kd_noisy'].item() for each in (first, second, again, plain)]
    assert values[0] == values[2]
    assert len(set(values)) == 3


def test_rois_of_an_image_have_the_same_noise() -> None:
    model = distiller(dict(noisy=pair(NOISY)))
    model.set_clock(Clock(4, 0, 100, None, by_epoch=False))
    with observed(model) as seen:
        item = seen.first('noisy')
        transform = model.pairs[0].target_transform
        context = replace(item.context, pair='noisy', step=seen.step.data)
        rows = ComparedRows(item.student, item.teacher, item.mask, item.images)
        noisy = transform(rows, context).teacher
        losses = model.pairs[0].losses(seen.step, seen.matched['noisy'])
    assert item.images is not None and item.images.tolist() == sorted(item.images)
    assert item.images.unique().tolist() == [0, 1]
    noise = (noisy / item.teacher - 1)[item.images == 0]
    assert_close(noise, noise[:1].expand_as(noise), atol=1e-3, rtol=0)
    expected = logit_l2(item.student, noisy, mask=item.mask)
    assert_close(losses['loss_kd_noisy'], expected)


def test_nothing_else_draws_otherwise_beside_it() -> None:
    """Neither the host's samplers, nor the pairs that draw themselves."""
    others = dict(
        masked=dict(
            layer='neck', loss=dict(type='MGDLoss', masked_ratio=0.5, loss_weight=1.0)
        )
    )
    noisy = dict(noisy=pair(NOISY | dict(granularity='row')))
    without, beside = distiller(others), distiller(noisy | others)
    beside.load_state_dict(without.state_dict(), strict=False)
    beside.losses['masked'].load_state_dict(without.losses['masked'].state_dict())
    for model in (without, beside):  # what they drew when they were built
        model.random_stream.load_state_dict(without.random_stream.state_dict())
    for step in range(2):
        found = [at(model, step) for model in (without, beside)]
        for key in found[0]:
            first, second = (
                torch.stack([*each]) if isinstance(each, list) else each
                for each in (losses[key] for losses in found)
            )
            assert torch.equal(first, second), key


def test_pixels_of_a_segmentor_are_transformed() -> None:
    for transform in ('NoisyTeacherTransform', 'DKPPTransform', 'CWTMTransform'):
        of = dict(one=pair(dict(type=transform), 'KDLoss', 'seg.logits'))
        model = distiller(of, segmentor(), teacher_of(segmentor(8)))
        assert model.pairs[0].target_transform is not None


# Refused


@pytest.mark.parametrize(
    ('of', 'message'),
    [
        (
            dict(
                layer='neck',
                target_transform=dict(type='DKPPTransform'),
                loss=dict(type='HintLoss'),
            ),
            r'^model.pairs.one.target_transform: DKPPTransform changes logits, and '
            r"neck\[0\] holds none. Use a view of logits, such as 'roi.logits'",
        ),
        (
            pair(dict(type='DKPPTransform'), 'DeltaL2Loss', 'roi.deltas'),
            '^model.pairs.one.target_transform: .* and roi.deltas holds none',
        ),
        (
            pair(dict(type='DKPP')),
            "^model.pairs.one.target_transform.type: no 'DKPP'. There are: 'CWTM",
        ),
        (
            pair(dict(type='NoisyTeacherTransform', std=1)),
            ".target_transform: NoisyTeacherTransform has no argument 'std'. Close",
        ),
        (
            pair(dict(type='NoisyTeacherTransform', share=2.0)),
            'share must be a number from 0 to 1, got 2.0',
        ),
        (
            pair(NOISY, view='rpn.logits'),
            "at rpn.logits: .*not known which image a row is of. Set granularity='row'",
        ),
        (
            pair(dict(type='StdScalingTransform'), 'KDLoss', 'rpn.logits'),
            'StdScalingTransform needs the logits of one softmax',
        ),
        (
            pair('noise'),
            '^model.pairs.one.target_transform: must be a dict with',
        ),
    ],
)
def test_what_cannot_be_transformed_is_refused(
    of: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        distiller(dict(one=of))
