"""Attentive imitation in pairs: boxes of RoIs and anchors, and depth maps."""

from typing import Any

import pytest
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import attentive_imitation
from kd_plugins.losses._teacher_error import error_range
from tests.distillers.tiny import distiller, losses_of, observed
from tests.views.depth.test_depth import build as depth_distiller
from tests.views.depth.test_depth import depth_batch

pytestmark = pytest.mark.host


def pairs_of(**options: Any) -> dict[str, Any]:
    loss = dict(type='AILLoss', alpha=0.0) | options
    return dict(
        roi=dict(view='roi.deltas', loss=loss), rpn=dict(view='rpn.deltas', loss=loss)
    )


def test_positives_of_both_stages() -> None:
    model = distiller(pairs_of(normalizer='batch'))
    with observed(model) as seen:
        expected = {}
        for name in ('roi', 'rpn'):
            found = seen.first(name)
            assert found.mask is not None and found.target is not None
            assert 0 < found.mask.sum() < len(found.mask)
            low, high = error_range(found.teacher, found.target, mask=found.mask)
            expected[name] = attentive_imitation(
                found.student,
                found.teacher,
                found.target,
                normalizer=high - low,
                alpha=0.0,
                mask=found.mask,
                avg_factor=found.count,
            )
    losses = losses_of(model)
    for name, value in expected.items():
        assert value > 0
        assert_close(losses[f'loss_kd_{name}'], value)
    model.parse_losses(losses)[0].backward()
    assert model.student.roi_head.bbox_head.fc_reg.weight.grad.abs().sum() > 0


def test_running_range_moves_with_the_weight_alone() -> None:
    silent = distiller(pairs_of(loss_weight=0.0))
    losses_of(silent)
    assert silent.losses['roi'].range.batches == 0
    assert not silent.losses['roi'].range.errors.any()
    model = distiller(pairs_of())
    losses_of(model)
    state = model.state_dict()
    for name in ('roi', 'rpn'):
        assert state[f'losses.{name}.range.batches'] == 1
        smallest, largest = state[f'losses.{name}.range.errors']
        assert 0 <= smallest < largest
    assert not any('range' in name for name in model.student_state_dict(state))


def test_depth_maps_where_a_depth_was_measured() -> None:
    pairs = dict(
        depth=dict(view='depth.map', loss=dict(type='AILLoss', normalizer='batch'))
    )
    model = depth_distiller(pairs)
    losses = model(**depth_batch(model), mode='loss')
    assert losses['loss_kd_depth'] > 0
    losses['loss_kd_depth'].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0


def test_a_layer_gives_no_targets() -> None:
    pair = dict(layer='neck', loss=dict(type='AILLoss'))
    with pytest.raises(ConfigError, match='AILLoss needs the targets of the host'):
        distiller(dict(pair=pair))
    plain = dict(layer='neck', loss=dict(type='AILLoss', mode='plain'))
    assert losses_of(distiller(dict(pair=plain)))['loss_kd_pair'] > 0
