"""Models that learn together: what each learns from whom, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.distillers.step import Step
from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.losses import softened_divergence

from .tiny import batch, faster_rcnn, hint, losses_of, teacher_of, weights_of
from .tiny_peers import KD, PIXELS, mutual, steady_segmentor, three
from .tiny_seg import losses_of as segment_losses
from .tiny_seg import segment_batch


def looked_at(model: Any, prepared: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What each peer's pairs compare in one step, by peer and pair, and the losses."""
    seen: dict[str, Any] = {}
    for name, peer in model.learners.items():

        def matching(step: Step, name: str = name, peer: Any = peer) -> Any:
            seen[name] = type(peer).match(peer, step)
            return seen[name]

        object.__setattr__(peer, 'match', matching)
    torch.manual_seed(3)
    losses = model(**prepared, mode='loss')
    for peer in model.learners.values():
        del peer.__dict__['match']
    return seen, losses


def spread(model: Any) -> Any:
    """Box heads that tell classes apart: initialised, they hardly do."""
    for number, peer in enumerate(model.learners.values()):
        generator = torch.Generator().manual_seed(number)
        weight = peer.student.roi_head.bbox_head.fc_cls.weight.data
        weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """By the formula, mean over rows."""
    return softened_divergence(student, teacher)


def test_each_learns_from_the_other_at_its_own_rois() -> None:
    model = spread(mutual(dict(logits=KD)))
    matched, losses = looked_at(model, batch(model))
    rows = {name: matched[name]['logits'][0] for name in ('first', 'second')}
    for name, item in rows.items():
        assert item.teacher.grad_fn is None and item.student.grad_fn is not None
        probs = item.teacher.softmax(dim=1)
        expected = (probs * (probs.log() - item.student.log_softmax(1))).sum(1).mean()
        assert expected > 0.01
        assert_close(losses[f'{name}.loss_kd_logits'], expected)


def test_of_three_each_learns_the_mean_over_the_two_others() -> None:
    """L_k = CE_k + 1/(K-1) sum KL(p_l || p_k)."""
    model = spread(mutual(dict(logits=KD), three()))
    matched, losses = looked_at(model, batch(model))
    for name in 'abc':
        one, other = matched[name]['logits']
        assert torch.equal(one.student, other.student)
        values = kl(one.student, one.teacher), kl(other.student, other.teacher)
        assert abs(values[0] - values[1]) > 1e-3
        assert_close(losses[f'{name}.loss_kd_logits'], sum(values) / 2)


def test_of_three_each_may_learn_from_the_mean_of_the_others() -> None:
    """DML_e: one divergence, to the averaged distribution."""
    pair = KD | dict(combine=dict(type='MeanProbs'))
    model = spread(mutual(dict(logits=pair), three()))
    _, losses = looked_at(model, batch(model))
    plain = spread(mutual(dict(logits=KD), three()))
    matched, _ = looked_at(plain, batch(plain))
    one, other = matched['a']['logits']
    mean = (one.teacher.softmax(1) + other.teacher.softmax(1)) / 2
    assert_close(losses['a.loss_kd_logits'], kl(one.student, mean.log()))


def test_no_gradient_reaches_the_side_that_teaches() -> None:
    model = spread(mutual(dict(logits=KD, hint=hint())))
    losses = losses_of(model)
    (losses['first.loss_kd_logits'] + losses['first.loss_kd_hint']).backward()
    assert all(each.grad is None for each in model.peers['second'].parameters())
    head = model.peers['first'].student.roi_head.bbox_head
    assert head.fc_cls.weight.grad.any()


def test_a_target_is_what_the_peer_has_just_trained_on() -> None:
    """Of the same pixels, by the statistics of the batch, and simultaneous."""
    model = mutual(
        dict(logits=PIXELS),
        dict(first=steady_segmentor(), second=steady_segmentor(6)),
    )
    matched, _ = looked_at(model, segment_batch(model))
    first, second = (matched[name]['logits'][0] for name in ('first', 'second'))
    assert_close(first.teacher, second.student.detach())
    assert_close(second.teacher, first.student.detach())
    assert first.teacher.std() > 0.01


def test_what_one_learns_from_moves_no_statistics_and_no_draw() -> None:
    def after(pairs: dict[str, Any]) -> dict[str, Tensor]:
        model = mutual(
            pairs, dict(first=steady_segmentor(), second=steady_segmentor(6))
        )
        segment_losses(model)
        return weights_of(model)

    silent = after({})
    taught = after(dict(logits=PIXELS, back=dict(PIXELS, student='first')))
    moved = [name for name in silent if 'running_mean' in name]
    assert moved and all(silent[name].any() for name in moved)
    assert {name for name in silent if not torch.equal(silent[name], taught[name])} == (
        set()
    )


def test_all_modes_are_as_before_and_nothing_stays_attached() -> None:
    model = mutual(
        dict(logits=PIXELS), dict(first=steady_segmentor(), second=steady_segmentor(6))
    )
    for _ in range(2):
        segment_losses(model)
    for module in model.modules():
        assert module.training and not module._forward_hooks
        assert getattr(module, 'track_running_stats', True)
        assert not {'extract_feat', 'loss_by_feat'} & set(vars(module))


def test_layers_are_those_of_the_step_itself() -> None:
    model = mutual(dict(hint=hint(student='first')))
    prepared = batch(model)
    matched, _ = looked_at(model, prepared)
    assert 'second' in matched and not matched['second']
    second = model.peers['second'].student
    with torch.no_grad():
        features = second.extract_feat(prepared['inputs'])
    for level, item in enumerate(matched['first']['hint']):
        assert_close(item.teacher, features[level])
        assert item.teacher.grad_fn is None


def test_each_peer_sees_its_own_preprocessing() -> None:
    plain = dict(type='mmdet.DetDataPreprocessor', pad_size_divisor=32)
    second = faster_rcnn(base=6)
    second.data_preprocessor = plain
    model = mutual(dict(logits=KD), dict(first=faster_rcnn(), second=second))
    seen: list[Tensor] = []
    backbone = model.peers['second'].student.backbone
    backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    losses_of(model)
    own = batch(model.peers['second'].student)['inputs']
    assert own.max() > 100
    assert_close(seen[0], own, rtol=1e-4, atol=1e-2)


def test_a_peer_learns_from_a_frozen_teacher_too() -> None:
    pairs = dict(logits=KD, old=KD | dict(student='second', teacher='teacher'))
    model = spread(mutual(pairs, teacher=teacher_of(faster_rcnn(base=8), fast=False)))
    losses = losses_of(model)
    assert 'second.loss_kd_old' in losses and 'first.loss_kd_old' not in losses
    model.parse_losses(losses)[0].backward()
    assert not any('teacher' in name for name in model.state_dict())
    summary = model.summary()
    assert 'allow_random' in summary
    assert (
        'a peer; gives the features of its own step, and runs its roi_head' in summary
    )


def test_everywhere_else_it_is_the_deployed_peer() -> None:
    model = mutual(dict(logits=KD), deploy='second')
    second = model.peers['second'].student
    assert model.student is second and model.roi_head is second.roi_head
    prepared = batch(model)
    model.eval()
    with torch.no_grad():
        ours = model(**prepared, mode='predict')[0].pred_instances
        alone = second(**prepared, mode='predict')[0].pred_instances
    assert torch.equal(ours.scores, alone.scores)
    assert "peer 'second', deployed" in model.summary()


def test_a_plain_checkpoint_is_taken_by_the_deployed_peer() -> None:
    model = mutual(dict(logits=KD))
    other = weights_of(model)
    plain = {name: value + 1 for name, value in model.student.state_dict().items()}
    model.load_state_dict(plain)
    for name, value in model.state_dict().items():
        start = 'peers.first.student.'
        expected = plain.get(name.removeprefix(start), other[name])
        assert torch.equal(value, expected), name
    taken = model.student_state_dict(model.state_dict())
    assert taken.keys() == plain.keys()


def test_peers_begin_as_their_seeds_say() -> None:
    def start(seed: int) -> Any:
        return mutual({}, dict(a=faster_rcnn(), b=dict(model=faster_rcnn(), seed=seed)))

    one, again, other = start(3), start(3), start(4)
    state, same, apart = (each.state_dict() for each in (one, again, other))
    assert all(torch.equal(state[name], each) for name, each in same.items())
    a, b = (f'peers.{peer}.student.rpn_head.rpn_conv.weight' for peer in 'ab')
    assert not torch.equal(state[a], state[b])
    assert torch.equal(state[a], apart[a]) and not torch.equal(state[b], apart[b])


def test_peers_of_the_same_weights_are_refused_wherever_these_come_from() -> None:
    model = mutual(dict(logits=KD), dict(a=faster_rcnn(), b=faster_rcnn()))
    state = model.peers['a'].student.state_dict()
    model.peers['b'].student.load_state_dict(state)
    with pytest.raises(DistillationError, match=r"model.peers: 'a' and 'b' begin with"):
        losses_of(model)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(peers=dict(a=faster_rcnn())), 'model.peers: needs two models or more'),
        (dict(peers='two'), 'model.peers: must be a dict of models'),
        (
            dict(peers=dict(a=faster_rcnn(), b=dict(model=faster_rcnn(), seed=0))),
            "model.peers.b.seed: 'a' and 'b' are the same model and begin with",
        ),
        (
            dict(peers=dict(a=faster_rcnn(), b=dict(seed=1))),
            r'model.peers.b: must be a model .a dict with .type.., dict.model',
        ),
        (
            dict(peers=dict(a=faster_rcnn(), b=dict(model=faster_rcnn(), sed=1))),
            "model.peers.b: no key 'sed'. Close: 'seed'",
        ),
        (
            dict(peers=dict(a=faster_rcnn(), b=faster_rcnn() | dict(seed=1))),
            'model.peers.b.seed: stands beside a model',
        ),
        (
            dict(peers=dict(a=faster_rcnn(), b=dict(model=faster_rcnn(), seed=-1))),
            'model.peers.b: seed must be a whole number >= 0',
        ),
        (
            dict(peers={'a.b': faster_rcnn(), 'c': faster_rcnn()}),
            "model.peers.a.b: cannot be a peer's name",
        ),
        (
            dict(deploy='frist'),
            "model.deploy: there is no peer 'frist'. Close: 'first'",
        ),
        (
            dict(pairs=dict(one=KD | dict(student='frist'))),
            "model.pairs.one.student: there is no peer 'frist'. Close: 'first'",
        ),
        (
            dict(pairs=dict(one=KD | dict(teacher='secnd'))),
            "model.pairs.one.teacher: there is no peer, nor a frozen teacher, 'secnd'",
        ),
        (
            dict(pairs=dict(one=KD | dict(student='first', teacher='first'))),
            "model.pairs.one.teacher: 'first' would be its own teacher",
        ),
        (
            dict(pairs=dict(one=KD | dict(student=[]))),
            'model.pairs.one.student: must be a peer, or a list',
        ),
        (dict(teacher=1.5), 'model.teacher: must be a dict with cfg or model'),
        (dict(pairs='auto'), 'model.pairs: must be a dict of pairs by name'),
        (
            dict(
                peers=dict(
                    a=faster_rcnn(),
                    b=faster_rcnn(roi_head__bbox_head=dict(num_classes=5)),
                ),
                pairs=dict(one=KD | dict(student='a')),
            ),
            r"model.pairs.one.view \(of a\): student has 3 classes, teacher 'b' 5",
        ),
        (
            dict(
                peers=dict(
                    a=faster_rcnn(),
                    b=faster_rcnn(data_preprocessor=dict(pad_size_divisor=64)),
                ),
            ),
            'model.peers.b.data_preprocessor: pads images to multiples of 64',
        ),
        (
            dict(pairs=dict(one=KD | dict(loss=dict(type='KDLos')))),
            "model.pairs.one.loss.type .of first.: no 'KDLos'",
        ),
        (
            dict(
                pairs=dict(
                    one=KD
                    | dict(
                        loss=dict(
                            type='KDLoss',
                            loss_weight=dict(type='GradientShare', share=0.1),
                        )
                    )
                )
            ),
            'model.pairs.one.loss.loss_weight .of first.: a GradientShare measures',
        ),
        (
            dict(
                peers=dict(a=steady_segmentor(), b=steady_segmentor()),
                pairs=dict(
                    one=dict(
                        view='seg.logits',
                        loss=dict(type='HolisticLoss', base_channels=8),
                    )
                ),
            ),
            'model.pairs.one.loss .of a.: HolisticLoss trains something by itself',
        ),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mutual(**(dict(pairs=dict(logits=KD)) | options))
