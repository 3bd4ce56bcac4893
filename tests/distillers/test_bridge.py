"""A peer of which a part learns, on a frozen trunk: a bridge between two models."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.registry import MODELS

from .test_mutual import spread
from .test_mutual_runs import OURS, part, run
from .tiny import faster_rcnn, losses_of, weights_of
from .tiny_dense import gfl
from .tiny_peers import KD, mutual, peers_config

PAIRS = dict(
    from_bridge=KD | dict(student='small', teacher='bridge'),
    from_teacher=KD | dict(student='bridge', teacher='teacher'),
    from_small=KD | dict(student='bridge', teacher='small'),
)
BIG = faster_rcnn(base=6, fc=24)


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """Of a teacher whose head tells classes apart."""
    torch.manual_seed(8)
    model = MODELS.build(BIG)
    model.init_weights()
    weight = model.roi_head.bbox_head.fc_cls.weight.data
    weight.copy_(torch.randn(weight.shape))
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def parts(checkpoint: str, /, **bridge: Any) -> dict[str, Any]:
    options = dict(model=BIG, checkpoint=checkpoint, trains=['roi_head'])
    return dict(
        peers=dict(small=faster_rcnn(), bridge=options | bridge),
        teacher=dict(model=BIG, checkpoint=checkpoint, fast=False),
    )


def bridged(checkpoint: str, pairs: Any = PAIRS, /, **bridge: Any) -> Any:
    return spread(mutual(pairs, **parts(checkpoint, **bridge)))


def gradients(model: Any, *keys: str) -> dict[str, torch.Tensor]:
    """Of some losses, by parameter; of those that have one."""
    losses = losses_of(model)
    model.zero_grad()
    model.parse_losses({key: losses[key] for key in keys})[0].backward()
    named = model.named_parameters()
    return {name: each.grad.clone() for name, each in named if each.grad is not None}


BRIDGE = ('bridge.loss_cls', 'bridge.loss_kd_from_teacher', 'bridge.loss_kd_from_small')


def test_the_bridge_learns_by_three_terms_and_its_trunk_by_none(
    checkpoint: str,
) -> None:
    model = bridged(checkpoint)
    for key in BRIDGE:
        found = gradients(model, key)
        assert found and any(each.any() for each in found.values()), key
        assert all(name.startswith('peers.bridge.student.roi_head') for name in found)
    whole = model.parse_losses(losses_of(model))[0]
    model.zero_grad()
    whole.backward()
    for name, each in model.named_parameters():
        trunk = 'bridge' in name and 'roi_head' not in name
        assert (each.grad is None) == trunk, name
        assert each.requires_grad != trunk


def test_a_dense_head_may_be_the_bridge(tmp_path: Path) -> None:
    """As the RoI head: three terms for the head, none for the trunk."""
    big = gfl(8, 16)
    torch.manual_seed(8)
    teacher = MODELS.build(big)
    teacher.init_weights()
    torch.nn.init.normal_(teacher.bbox_head.gfl_cls.weight)
    checkpoint = str(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=teacher.state_dict()), checkpoint)
    given = dict(
        peers=dict(
            small=gfl(),
            bridge=dict(model=big, checkpoint=checkpoint, trains=['bbox_head']),
        ),
        teacher=dict(model=big, checkpoint=checkpoint, fast=False),
    )
    pairs = {name: pair | dict(view='head.logits') for name, pair in PAIRS.items()}
    model = mutual(pairs, **given)
    for parameter in model.peers['bridge'].student.bbox_head.parameters():
        parameter.data += 0.01  # else it says what the teacher says
    for key in BRIDGE:
        found = gradients(model, key)
        assert any(each.any() for each in found.values()), key
        assert all(name.startswith('peers.bridge.student.bbox_head') for name in found)
    student = gradients(model, 'small.loss_kd_from_bridge')
    assert any(each.any() for each in student.values())
    assert all(name.startswith('peers.small.student.') for name in student)


def test_the_student_learns_from_the_bridge_alone(checkpoint: str) -> None:
    model = bridged(checkpoint)
    before = gradients(model, 'small.loss_kd_from_bridge')
    assert all(name.startswith('peers.small.student.') for name in before)
    teacher = model.peers['bridge'].teachers['teacher'].model
    assert 'teacher' not in model.peers['small'].teachers
    with torch.no_grad():
        teacher.roi_head.bbox_head.fc_cls.weight.add_(1.0)
    after = gradients(model, 'small.loss_kd_from_bridge')
    for name, each in before.items():
        assert torch.equal(after[name], each), name


def test_without_the_third_term_the_bridge_does_not_know_the_student(
    checkpoint: str,
) -> None:
    pairs = {name: pair for name, pair in PAIRS.items() if name != 'from_small'}
    found = []
    for change in (0.0, 0.1):
        model = bridged(checkpoint, pairs)
        with torch.no_grad():
            for each in model.peers['small'].student.roi_head.parameters():
                each.add_(change)
        found.append(gradients(model, *BRIDGE[:2]))
    assert all(torch.equal(found[1][name], each) for name, each in found[0].items())


def test_it_begins_with_the_head_of_the_teacher_or_a_fresh_one(checkpoint: str) -> None:
    saved = torch.load(checkpoint, weights_only=True)['state_dict']
    pairs = dict(from_teacher=PAIRS['from_teacher'])
    head = 'roi_head.bbox_head.fc_cls.weight'
    for fresh in (False, True):
        model = mutual(pairs, **parts(checkpoint, fresh=fresh))
        state = model.peers['bridge'].student.state_dict()
        assert torch.equal(
            state['backbone.conv1.weight'], saved['backbone.conv1.weight']
        )
        assert torch.equal(state[head], saved[head]) != fresh


def test_a_run_leaves_the_trunk_and_the_teacher_as_they_are(
    checkpoint: str, tmp_path: Path
) -> None:
    ours = run(peers_config(PAIRS, **parts(checkpoint)), tmp_path / 'run', **OURS)
    saved = torch.load(checkpoint, weights_only=True)['state_dict']
    moved = {
        name
        for name, each in part(ours, 'bridge').items()
        if not torch.equal(each, saved[name])
    }
    assert moved and all(name.startswith('roi_head.') for name in moved)
    teacher = ours.model.peers['bridge'].teachers['teacher'].model.state_dict()
    assert all(torch.equal(each, saved[name]) for name, each in teacher.items())
    student = torch.load(tmp_path / 'run' / 'student_iter_4.pth', weights_only=False)
    assert student['state_dict'].keys() == faster_rcnn_keys()
    assert not ours.model.peers['bridge'].student.backbone.training


def faster_rcnn_keys() -> Any:
    return MODELS.build(faster_rcnn()).state_dict().keys()


def test_statistics_of_the_trunk_stay(checkpoint: str) -> None:
    model = bridged(checkpoint)
    before = weights_of(model.peers['bridge'].student)
    losses_of(model.train())
    after = weights_of(model.peers['bridge'].student)
    assert all(torch.equal(before[name], each) for name, each in after.items())


@pytest.mark.parametrize(
    ('bridge', 'error', 'message'),
    [
        (
            dict(trains=['roi_haed']),
            ConfigError,
            r"bridge.trains: .* 'roi_haed'. Close",
        ),
        (dict(trains=3), ConfigError, 'bridge.trains: must be a list of parts'),
        (dict(checkpoint=None), ConfigError, 'bridge.trains: leaves the others frozen'),
        (dict(trains=[], fresh=True), ConfigError, 'bridge.fresh: names no part that'),
        (dict(fresh='yes'), ConfigError, 'peers.bridge: fresh must be True or False'),
        (dict(checkpoint=3), ConfigError, 'peers.bridge.checkpoint: must be a text'),
        (
            dict(checkpoint='nowhere.pth'),
            CheckpointError,
            r'model.peers.bridge.checkpoint: .*nowhere.pth',
        ),
        (
            dict(model=faster_rcnn(base=8)),
            CheckpointError,
            r"model.peers.bridge.checkpoint: '.*teacher.pth'",
        ),
    ],
)
def test_what_cannot_begin_is_refused(
    checkpoint: str, bridge: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bridged(checkpoint, **bridge)
