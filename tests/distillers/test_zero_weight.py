"""With every weight 0 the student is, bit for bit, the one its host would train."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.losses import DistillationLoss
from kd_plugins.registry import LOSSES

from .runs import assert_same_weights, train
from .tiny import all_pairs, config, distiller, faster_rcnn, hint, losses_of, teacher_of

pytestmark = pytest.mark.fast_teacher
OURS = dict(runner_type='kd_plugins.DistillRunner')
CLIPPED = dict(
    optim_wrapper=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1),
        clip_grad=dict(max_norm=0.5),
    )
)


@pytest.mark.host
@pytest.mark.parametrize('changes', [{}, CLIPPED], ids=['unclipped', 'clipped'])
def test_student_trains_as_in_the_host(tmp_path: Path, changes: dict[str, Any]) -> None:
    pairs = all_pairs(weight=0.0)
    pairs['source'] = dict(
        view=dict(type='roi.logits', roi_source='union', num_rois=8),
        loss=dict(type='KDLoss', loss_weight=0.0),
    )
    model = config(pairs, teacher=teacher_of(faster_rcnn(base=8, width=16)))
    ours = train(model, tmp_path / 'ours', **OURS, **changes)
    host = train(faster_rcnn(), tmp_path / 'host', **changes)
    assert_same_weights(
        ours.model.student_state_dict(ours.model.state_dict()), host.model.state_dict()
    )


@pytest.mark.host
def test_student_differs_with_weights(tmp_path: Path) -> None:
    ours = train(config(all_pairs()), tmp_path / 'ours', **OURS)
    host = train(faster_rcnn(), tmp_path / 'host')
    trained = ours.model.student_state_dict(ours.model.state_dict())
    plain = host.model.state_dict()
    assert any(not torch.equal(trained[name], plain[name]) for name in plain)


@LOSSES.register_module()
class RootLoss(DistillationLoss):
    """Infinite slope at 0, where 0 times it is NaN."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss_weight * (student - student.detach()).abs().sqrt().sum()


def test_weight_zero_harms_no_gradient_even_where_it_is_infinite() -> None:
    model = distiller(dict(root=dict(layer='neck', loss=dict(type='RootLoss'))))
    model.losses['root'].loss_weight = 0.0
    losses = losses_of(model)
    assert losses['loss_kd_root'].item() == 0
    model.parse_losses(losses)[0].backward()
    for name, parameter in model.student.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_adapters_are_in_the_graph_at_weight_zero() -> None:
    pairs = dict(hint=hint(adapter=dict(type='ConvAdapter')))
    pairs['hint']['loss'] = dict(type='HintLoss', loss_weight=0.0)
    model = distiller(pairs)
    for _ in range(2):  # the first iteration also checks that the pair is alive
        model.zero_grad()
        model.parse_losses(losses_of(model))[0].backward()
        for parameter in model.adapters.parameters():
            assert parameter.grad is not None and not parameter.grad.any()
