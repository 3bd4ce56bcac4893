"""Attentive hints in a pair: features of RoIs, and errors of the teacher's boxes."""

from typing import Any

import pytest
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import attentive_hint
from tests.distillers.tiny import distiller, losses_of, observed

pytestmark = pytest.mark.host


def pair(**options: Any) -> dict[str, Any]:
    view = dict(type='roi.features', target='teacher_error') | options
    return dict(view=view, loss=dict(type='AHTLoss', normalizer='batch'))


def test_each_roi_with_a_box_has_the_error_of_its_deltas() -> None:
    deltas = dict(view='roi.deltas', loss=dict(type='DeltaL2Loss'))
    plain = dict(view='roi.features', loss=dict(type='HintLoss'))
    model = distiller(dict(hint=pair(), deltas=deltas, plain=plain))
    with observed(model) as seen:
        hint, boxes, plainly = map(seen.first, ('hint', 'deltas', 'plain'))
    assert hint.target is not None and hint.mask is not None
    assert_close(hint.student, plainly.student)
    assert_close(hint.teacher, plainly.teacher)
    assert_close(hint.mask, boxes.mask)
    assert 0 < hint.mask.sum() < len(hint.mask)
    kept = hint.mask.bool()
    error = (boxes.teacher - boxes.target).square().sum(dim=1, keepdim=True)
    assert_close(hint.target[kept], error[kept])
    # The mean is over the RoIs with a box.
    assert float(hint.count) == hint.mask.sum()
    own = error[kept]
    expected = attentive_hint(
        hint.student[kept],
        hint.teacher[kept],
        own,
        normalizer=own.max() - own.min(),
    )
    losses = losses_of(model)
    assert expected > 0
    assert_close(losses['loss_kd_hint'], expected)
    losses['loss_kd_hint'].backward()
    head = model.student.roi_head.bbox_head
    assert head.shared_fcs[0].weight.grad.abs().sum() > 0
    assert head.fc_reg.weight.grad is None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'target': 'error'}, "target must be 'labels' or 'teacher_error'"),
        ({'roi_source': 'teacher'}, "'roi.features' needs the labels"),
    ],
)
def test_errors_need_the_labels_of_the_students_rois(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        distiller(dict(hint=pair(**options)))


def test_labels_are_refused_where_errors_are_meant() -> None:
    wrong = dict(view='roi.features', loss=dict(type='AHTLoss'))
    with pytest.raises(
        ConfigError, match=r"hint.loss at roi.features: .* target='teacher_error'"
    ):
        distiller(dict(hint=wrong))
