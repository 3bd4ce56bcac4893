"""Peers that pause: who is updated, who learns from whom, and how that is decided."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.distillers import switching
from kd_plugins.errors import ConfigError
from kd_plugins.registry import SWITCHES
from kd_plugins.switches import AdaptiveSwitch, Switch, distances

from .test_mutual import looked_at, spread
from .test_mutual_runs import CLIPPED, OURS, steady
from .tiny import batch, faster_rcnn, losses_of
from .tiny_dense import retinanet
from .tiny_peers import KD, PIXELS, mutual, peers_config, steady_segmentor, three
from .tiny_seg import head, segmentor

ADAPTIVE = dict(type='AdaptiveSwitch', pair='logits')


@SWITCHES.register_module()
class Planned(Switch):
    """Says what it was told to, one answer a step and student, then the last again."""

    def __init__(self, answers: list[bool]) -> None:
        self.answers = list(answers)

    def statistics(self, *args: Any, **options: Any) -> Tensor:
        return torch.ones(4)

    def learns(self, sums: Tensor) -> Tensor:
        answer = self.answers[0]
        if len(self.answers) > 1:
            del self.answers[0]
        return torch.tensor(answer)


def planned(*answers: bool, pair: str = 'logits', **options: Any) -> dict[str, Any]:
    return dict(type='Planned', answers=list(answers), pair=pair, **options)


def peers_run(work_dir: Path, switches: Any, iterations: int = 2) -> Any:
    """Two segmentors by SGD with momentum and weight decay, clipped."""
    peers = dict(small=steady_segmentor(), big=steady_segmentor(6))
    model = peers_config(dict(pixels=PIXELS), peers, switches=switches)
    changes = dict(train_cfg=dict(by_epoch=False, max_iters=iterations))
    return steady(model, work_dir, **OURS, **changes)


def trained(runner: Any, peer: str) -> dict[str, Tensor]:
    return dict(runner.model.peers[peer].named_parameters())


def test_a_peer_that_pauses_stays_bit_for_bit_as_it_is(tmp_path: Path) -> None:
    """Neither weight decay moves it, nor its momentum: it learned in the first step."""
    once = peers_run(tmp_path / 'once', None, iterations=1)
    plan = dict(big=planned(True, False, pair='pixels'))
    paused = peers_run(tmp_path / 'paused', plan, iterations=3)
    free = peers_run(tmp_path / 'free', None, iterations=3)
    for name, value in trained(once, 'big').items():
        assert torch.equal(trained(paused, 'big')[name], value), name
    assert any(
        not torch.equal(trained(free, 'big')[name], value)
        for name, value in trained(once, 'big').items()
    )
    # Its statistics of batch norm move, as in the release; the other learns on.
    buffers = [dict(each.model.peers['big'].named_buffers()) for each in (once, paused)]
    name = 'student.backbone.stem.1.num_batches_tracked'
    assert [each[name].item() for each in buffers] == [1, 3]
    moved = trained(paused, 'small')
    assert any(
        not torch.equal(moved[name], value)
        for name, value in trained(once, 'small').items()
    )
    logged, _ = paused.message_hub.log_scalars['train/big.learns_from_small'].data
    assert logged.tolist() == [1, 0, 0]


def test_of_two_teachers_each_has_a_switch_of_its_own() -> None:
    """Two teach one: an active one learns from the student and from the other."""
    plans = {name: planned(name == 'b', students='a') for name in ('b', 'c')}
    model = steered(mutual(dict(logits=KD), three(), switches=plans))
    losses = losses_of(model)
    assert model._paused == {'c'}
    assert losses['b.learns_from_a'] == 1 and losses['c.learns_from_a'] == 0
    assert losses['b.loss_kd_logits'] > 0


def test_of_two_students_a_teacher_may_learn_from_one() -> None:
    """One teaches two: what it learns from each has a switch, and none: it pauses."""
    pairs = dict(
        logits=KD | dict(student=['a', 'b']),
        from_a=KD | dict(student='c', teacher='a'),
        from_b=KD | dict(student='c', teacher='b'),
    )
    plan = dict(c=planned(False, True, False))
    model = steered(spread(mutual(pairs, three(), switches=plan)))
    losses = losses_of(model)
    assert not model._paused
    assert losses['c.loss_kd_from_a'] == 0 and losses['c.loss_kd_from_b'] > 0
    assert losses['c.loss_kd_from_a'].requires_grad  # DDP waits for its parameters
    losses = losses_of(model)
    assert model._paused == {'c'}
    assert losses['c.loss_kd_from_a'] == 0 == losses['c.loss_kd_from_b']
    assert losses['a.loss_kd_logits'] > 0


def steered(model: Any) -> Any:
    model.steer(torch.optim.SGD(model.parameters(), lr=0.1))
    return model


def test_it_is_decided_by_the_objects_among_the_rois_of_the_student() -> None:
    model = steered(spread(mutual(dict(logits=KD), switches=dict(second=ADAPTIVE))))
    matched, losses = looked_at(model, batch(model))
    (item,) = matched['first']['logits']
    objects = item.target < 3
    assert 0 < objects.sum() < len(objects)
    sums = distances(item.student[objects], item.teacher[objects], item.target[objects])
    (switch,) = model._switches
    assert_close(switch.statistics(matched['first']), sums)
    assert losses['second.learns_from_first'] == AdaptiveSwitch().learns(sums)


def test_the_rows_of_all_processes_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, either half would decide otherwise than both do together."""
    model = steered(mutual(dict(logits=KD), switches=dict(second=ADAPTIVE)))
    prepared = batch(model)
    own = model._switches[0].statistics(looked_at(model, prepared)[0]['first'])
    # The teacher is better in these rows, by more than the threshold of 0.66.
    others = torch.tensor([1.5, 1.2, 0.8, 1.0]) * 1e4
    assert AdaptiveSwitch().learns(own) and not AdaptiveSwitch().learns(own + others)
    monkeypatch.setattr(switching, 'all_reduce', lambda sums: sums.add_(others))
    assert looked_at(model, prepared)[1]['second.learns_from_first'] == 0
    assert model._paused == {'second'}


def test_a_pair_without_weight_decides_nothing() -> None:
    silent = KD | dict(loss=dict(type='KDLoss', loss_weight=0.0))
    model = steered(mutual(dict(logits=silent), switches=dict(second=ADAPTIVE)))
    for _ in range(2):  # in the first the pair is tried
        assert losses_of(model)['second.learns_from_first'] == 1
    assert not model._paused


def test_an_optimiser_that_does_not_know_is_refused() -> None:
    model = mutual(dict(logits=KD), switches=dict(second=ADAPTIVE))
    with pytest.raises(ConfigError, match=r'switches: pauses a peer, which the optim'):
        losses_of(model)


def test_gradients_of_several_batches_are_refused(tmp_path: Path) -> None:
    wrapper = CLIPPED['optim_wrapper'] | dict(accumulative_counts=2)
    peers = dict(small=steady_segmentor(), big=steady_segmentor(6))
    switches = dict(big=planned(True, pair='pixels'))
    model = peers_config(dict(pixels=PIXELS), peers, switches=switches)
    with pytest.raises(ConfigError, match=r'optim_wrapper.accumulative_counts: a'):
        steady(model, tmp_path, **OURS, optim_wrapper=wrapper)


def sigmoid() -> dict[str, Any]:
    loss = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)
    return segmentor(decode=head('FCNHead', 8, num_convs=1, loss_decode=loss))


@pytest.mark.parametrize(
    ('switches', 'message'),
    [
        ('big', 'model.switches: must be a dict of switches by peer'),
        (dict(thrid=ADAPTIVE), "model.switches.thrid: there is no such peer. Close: '"),
        (dict(a='adaptive'), 'model.switches.a: needs a type, and the pair by which'),
        (dict(a=dict(type='AdaptiveSwitch')), 'model.switches.a: needs a type, and'),
        (dict(a=dict(type='Adaptiv', pair='logits')), "switches.a.type: no 'Adaptiv'"),
        (
            dict(a=dict(type='AdaptiveSwitch', pair='logts')),
            "model.switches.a.pair: 'a' teaches nobody by 'logts' of pairs. Close",
        ),
        (
            dict(a=ADAPTIVE | dict(students=['b', 'a'])),
            "model.switches.a.students: 'a' is no peer that 'a' teaches",
        ),
        (
            dict(a=ADAPTIVE | dict(students=3)),
            'model.switches.a.students: must be a list of peers, got 3',
        ),
        (
            dict(a=ADAPTIVE),
            "model.switches.a.pair: 'a' may learn from one of its students and not",
        ),
        (
            dict(a=dict(type='AdaptiveSwitch', pair='mean', students='b')),
            'model.switches.a.pair: MeanProbs makes one target of several peers',
        ),
    ],
)
def test_what_cannot_be_decided_is_refused(switches: Any, message: str) -> None:
    pairs = dict(logits=KD, mean=KD | dict(combine=dict(type='MeanProbs')))
    peers = dict(a=faster_rcnn(), b=faster_rcnn(), third=faster_rcnn())
    with pytest.raises(ConfigError, match=message):
        mutual(pairs, peers, switches=switches)


@pytest.mark.parametrize(
    ('make', 'view'), [(retinanet, 'head.logits'), (sigmoid, 'seg.logits')]
)
def test_logits_of_sigmoids_are_refused(make: Any, view: str) -> None:
    pairs = dict(logits=dict(view=view, loss=dict(type='KDLoss')))
    with pytest.raises(ConfigError, match=r'pair: compares .*judges by softmax logits'):
        mutual(pairs, dict(a=make(), b=make()), switches=dict(b=ADAPTIVE))
