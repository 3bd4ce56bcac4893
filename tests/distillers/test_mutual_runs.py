"""Runs of models that learn together: as alone, resumed, saved, exported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data.dataloader import _BaseDataLoaderIter

from kd_plugins.apis.analyze import analyze
from kd_plugins.apis.doctor.examine import examine
from kd_plugins.apis.export import build_plain, export_student
from kd_plugins.apis.test import evaluate
from kd_plugins.apis.visualize import visualize
from kd_plugins.checkpoints import read_checkpoint
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.random_stream import random_state_kept
from kd_plugins.teachers.checkpoints import load_weights
from tests.engine.hooks.toy import build, same_state

from . import split  # noqa: F401  (registers data that nothing is drawn for)
from .runs import assert_same_weights, run_config
from .tiny import faster_rcnn, hint
from .tiny_peers import KD, PIXELS, peers_config, steady_segmentor

pytestmark = pytest.mark.host
OURS = dict(runner_type='kd_plugins.DistillRunner')
MIXED = 'kd_plugins.BFloat16OptimWrapper'
ADAPTER = dict(type='ConvAdapter')
SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.1)
CLIPPED = dict(
    optim_wrapper=dict(type='OptimWrapper', optimizer=SGD, clip_grad=dict(max_norm=0.5))
)


@pytest.fixture(autouse=True)
def loaders_draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loader draws a number for its workers from the run's stream, not a peer's.

    The original family's host does so before it initialises the weights.
    """
    begin = _BaseDataLoaderIter.__init__

    def begin_apart(self: Any, *args: Any, **options: Any) -> None:
        with random_state_kept():
            begin(self, *args, **options)

    monkeypatch.setattr(_BaseDataLoaderIter, '__init__', begin_apart)


def run(model: Any, work_dir: Path, **changes: Any) -> Any:
    runner = build(run_config(model, work_dir, **changes))
    runner.train()
    return runner


def silent(pair: dict[str, Any]) -> dict[str, Any]:
    return pair | dict(loss=pair['loss'] | dict(loss_weight=0.0))


def part(runner: Any, peer: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = runner.model.peers[peer].student.state_dict()
    return state


def test_at_weight_zero_the_first_trains_as_in_the_host(tmp_path: Path) -> None:
    """With what it draws itself, adapters, and a gradient norm of its own."""
    pairs = dict(logits=silent(KD), hint=silent(hint(adapter=ADAPTER)))
    peers = dict(first=faster_rcnn(), second=faster_rcnn(base=6, width=12))
    ours = run(peers_config(pairs, peers), tmp_path / 'ours', **OURS, **CLIPPED)
    host = run(faster_rcnn(), tmp_path / 'host', **CLIPPED)
    assert_same_weights(part(ours, 'first'), host.model.state_dict())


def steady(model: Any, work_dir: Path, **changes: Any) -> Any:
    """Four iterations on images that are not shuffled."""
    loader = dict(batch_size=2, num_workers=0, dataset=dict(type='FixedSegments'))
    options: dict[str, Any] = dict(
        default_scope='mmseg',
        train_dataloader=dict(
            **loader, sampler=dict(type='InfiniteSampler', shuffle=False)
        ),
        train_cfg=dict(by_epoch=False, max_iters=4),
        **dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')),
    )
    return run(model, work_dir, **(options | CLIPPED | changes))


def segmentors(pairs: dict[str, Any], **options: Any) -> dict[str, Any]:
    peers = dict(first=steady_segmentor(), second=steady_segmentor(6))
    return peers_config(pairs, peers, **options)


def test_at_weight_zero_each_trains_as_alone_with_its_seed(tmp_path: Path) -> None:
    silenced = dict(pixels=silent(PIXELS))
    ours = steady(segmentors(silenced), tmp_path / 'ours', **OURS)
    seed = dict(seed=5 + 1, deterministic=True)
    for peer, model, changes in (
        ('first', steady_segmentor(), {}),
        ('second', steady_segmentor(6), dict(randomness=seed)),
    ):
        host = steady(model, tmp_path / peer, **changes)
        assert_same_weights(part(ours, peer), host.model.state_dict())
    # That could fail: with weights they learn something else.
    taught = steady(segmentors(dict(pixels=PIXELS)), tmp_path / 'taught', **OURS)
    for peer in ('first', 'second'):
        assert not same_state(part(taught, peer), part(ours, peer))
        assert f'train/grad_norm_{peer}' in taught.message_hub.log_scalars


def options_of(runner: Any) -> list[dict[str, Any]]:
    return [
        {key: group[key] for key in ('lr', 'momentum', 'weight_decay')}
        for group in runner.optim_wrapper.param_groups
    ]


def test_each_peer_learns_all_labels_of_mixed_images(tmp_path: Path) -> None:
    mixing = dict(custom_hooks=[dict(type='kd_plugins.MixedBatchesHook')])
    silenced = dict(pixels=silent(PIXELS))
    ours = steady(segmentors(silenced), tmp_path / 'ours', **OURS, **mixing)
    seed = dict(seed=5 + 1, deterministic=True)
    for peer, model, changes in (
        ('first', steady_segmentor(), {}),
        ('second', steady_segmentor(6), dict(randomness=seed)),
    ):
        host = steady(model, tmp_path / peer, **mixing, **changes)
        assert_same_weights(part(ours, peer), host.model.state_dict())


def test_a_peer_has_options_of_its_own(tmp_path: Path) -> None:
    wrapper = CLIPPED['optim_wrapper'] | dict(
        peer_cfg=dict(
            second=dict(
                optimizer=dict(lr=0.02),
                clip_grad=dict(max_norm=0.1),
                paramwise_cfg=dict(norm_decay_mult=0.0),
            )
        )
    )
    silenced = segmentors(dict(pixels=silent(PIXELS)))
    ours = steady(silenced, tmp_path / 'ours', **OURS, optim_wrapper=wrapper)
    alone = dict(
        type='OptimWrapper',
        optimizer=SGD | dict(lr=0.02),
        clip_grad=dict(max_norm=0.1),
        paramwise_cfg=dict(norm_decay_mult=0.0),
    )
    host = steady(
        steady_segmentor(6),
        tmp_path / 'host',
        optim_wrapper=alone,
        randomness=dict(seed=6, deterministic=True),
    )
    assert_same_weights(part(ours, 'second'), host.model.state_dict())
    plain = steady(steady_segmentor(), tmp_path / 'plain')
    assert_same_weights(part(ours, 'first'), plain.model.state_dict())


@pytest.mark.parametrize(
    ('peer_cfg', 'message'),
    [
        (dict(secnd={}), "peer_cfg: there is no peer 'secnd'. Close: 'second'"),
        (dict(second=dict(lr=1)), "peer_cfg.second has no 'lr'"),
        ([1], 'optim_wrapper.peer_cfg: must be a dict'),
        (dict(second=3), 'optim_wrapper.peer_cfg.second: must be a dict, got 3'),
        (dict(second=dict(optimizer=1)), 'peer_cfg.second.optimizer: must be a dict'),
        (
            dict(second=dict(adapter_cfg=dict(lr=1))),
            "peer_cfg.second.adapter_cfg has no 'lr'",
        ),
        (
            dict(second=dict(optimizer=dict(type='Adagrad'))),
            'peer_cfg.second.optimizer.type: is Adagrad, and another peer has SGD',
        ),
    ],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, peer_cfg: dict[str, Any], message: str
) -> None:
    wrapper = CLIPPED['optim_wrapper'] | dict(peer_cfg=peer_cfg)
    wrapper['optimizer'] = dict(type='SGD', lr=0.1)
    with pytest.raises(ConfigError, match=message):
        steady(segmentors({}), tmp_path, **OURS, optim_wrapper=wrapper)


@pytest.mark.slow
def test_a_run_resumes_bit_for_bit_and_each_peer_goes_out(tmp_path: Path) -> None:
    ramp = dict(type='LinearRamp', start=0.0, end=1.0, begin=0, until=4)
    masked = dict(type='MGDLoss')  # draws from a stream of our own
    pairs = dict(
        logits=KD | dict(loss=dict(type='KDLoss', loss_weight=ramp)),
        masked=dict(hint(adapter=ADAPTER, student='first'), loss=masked),
        hint=hint(adapter=ADAPTER, student='first'),
    )
    peers = dict(first=faster_rcnn(), second=faster_rcnn(base=6, width=12))
    model = peers_config(pairs, peers, deploy='second')
    hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
    changes = OURS | CLIPPED | dict(default_hooks=hooks)
    whole = run(model, tmp_path / 'whole', **changes)
    run(model, tmp_path / 'broken', **changes)
    for path in (tmp_path / 'broken').glob('*iter_4.pth'):
        path.unlink()
    resumed = run(model, tmp_path / 'broken', resume=True, **changes)
    state = whole.model.state_dict()
    assert any('.adapters.' in name for name in state)
    assert same_state(resumed.model.state_dict(), state)
    one, other = (each.optim_wrapper.state_dict()['state'] for each in (whole, resumed))
    assert one and all(same_state(one[key], other[key]) for key in one)
    # The deployed one is the student's file; every one can be exported.
    checkpoint = str(tmp_path / 'whole' / 'iter_4.pth')
    saved = read_checkpoint(tmp_path / 'whole' / 'student_iter_4.pth')
    plain = MODELS.build(peers['second'])
    plain.load_state_dict(saved['state_dict'], strict=True)
    assert same_state(plain.state_dict(), part(whole, 'second'))
    for peer in ('first', 'second', None):
        out = tmp_path / f'{peer}.pth'
        config = export_student(checkpoint, out, peer=peer)
        model = build_plain(Config.fromfile(str(config)))
        model.load_state_dict(read_checkpoint(out)['state_dict'], strict=True)
        assert same_state(model.state_dict(), part(whole, peer or 'second'))
    with pytest.raises(ConfigError, match="--peer: there is no peer 'frist'"):
        export_student(checkpoint, out, peer='frist')
    with pytest.raises(CheckpointError, match=r'learned together: first, second. Use'):
        load_weights(checkpoint)
    weights = load_weights(checkpoint, prefix='peers.first.student')
    assert same_state(dict(weights), part(whole, 'first'))


def averaged(runner: Any) -> Any:
    (hook,) = (each for each in runner.hooks if hasattr(each, 'ema_model'))
    return hook.ema_model.module


def test_averaged_weights_are_those_of_each_as_alone(tmp_path: Path) -> None:
    """Of all peers, in the student's file and after a resume."""
    averaging = dict(
        custom_hooks=[dict(type='EMAHook', momentum=0.3)],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)
        ),
    )
    silenced = segmentors(dict(pixels=silent(PIXELS)), deploy='second')
    ours = steady(silenced, tmp_path / 'ours', **OURS, **averaging)
    means = averaged(ours)
    seed = dict(seed=5 + 1, deterministic=True)
    for peer, model, changes in (
        ('first', steady_segmentor(), {}),
        ('second', steady_segmentor(6), dict(randomness=seed)),
    ):
        host = steady(model, tmp_path / peer, **averaging, **changes)
        mean = means.peers[peer].student.state_dict()
        assert_same_weights(mean, averaged(host).state_dict())
        assert not same_state(mean, part(ours, peer))
    saved = read_checkpoint(tmp_path / 'ours' / 'student_iter_4.pth')['state_dict']
    assert same_state(saved, means.peers['second'].student.state_dict())
    for path in (tmp_path / 'ours').glob('*iter_4.pth'):
        path.unlink()
    again = steady(silenced, tmp_path / 'ours', resume=True, **OURS, **averaging)
    assert same_state(again.model.state_dict(), ours.model.state_dict())
    assert same_state(averaged(again).state_dict(), means.state_dict())


def test_in_mixed_precision_each_trains_as_alone(tmp_path: Path) -> None:
    mixed = dict(optim_wrapper=CLIPPED['optim_wrapper'] | dict(type=MIXED))
    silenced = dict(pixels=silent(PIXELS))
    ours = steady(segmentors(silenced), tmp_path / 'ours', **OURS, **mixed)
    seed = dict(seed=5 + 1, deterministic=True)
    for peer, model, changes in (
        ('first', steady_segmentor(), {}),
        ('second', steady_segmentor(6), dict(randomness=seed)),
    ):
        host = steady(model, tmp_path / peer, **mixed, **changes)
        assert_same_weights(part(ours, peer), host.model.state_dict())
    # What they compare is near that in float32, and not the same.
    once = dict(train_cfg=dict(by_epoch=False, max_iters=1))
    pairs = segmentors(dict(pixels=PIXELS))
    plain = steady(pairs, tmp_path / 'plain', **OURS, **once)
    taught = steady(pairs, tmp_path / 'taught', **OURS, **mixed, **once)
    for peer in ('first', 'second'):
        key = f'train/{peer}.loss_kd_pixels'
        one, other = (
            run.message_hub.get_scalar(key).current() for run in (plain, taught)
        )
        assert one != other == pytest.approx(one, rel=0.1)


def test_the_deployed_peer_is_scored_from_any_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = peers_config(dict(logits=KD), deploy='second')
    whole = run(model, tmp_path / 'whole', **OURS)
    tested: list[Any] = []

    def keep(runner: Any) -> dict[str, float]:
        runner.load_checkpoint(runner._load_from)
        tested.append(runner.model)
        return {}

    monkeypatch.setattr(Runner, 'test', keep)
    for name in ('student_iter_4.pth', 'iter_4.pth'):
        cfg = run_config(model, tmp_path / 'tested', **OURS)
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
        cfg.test_cfg = {}
        evaluate(cfg, str(tmp_path / 'whole' / name))
    for each in tested:
        assert type(each).__name__ == 'FasterRCNN'
        assert same_state(each.state_dict(), part(whole, 'second'))


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        (
            dict(type='kd_plugins.FidelityHook'),
            'FidelityHook needs a model of type kd_plugins.Distiller, got MutualDist',
        ),
        (
            dict(type='kd_plugins.DistillationPicturesHook'),
            'PicturesHook needs a model of type kd_plugins.Distiller, got MutualDist',
        ),
        (
            dict(type='kd_plugins.GradientSharesHook', interval=2),
            'GradientSharesHook.interval: .* in a MutualDistiller several learn. Remo',
        ),
    ],
)
def test_hooks_that_look_at_one_student_refuse_peers(
    tmp_path: Path, hook: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(peers_config(dict(logits=KD)), tmp_path, custom_hooks=[hook], **OURS)


@pytest.mark.parametrize('what', ['--why', '--fidelity', 'analyze.py', 'visualize.py'])
def test_tools_that_look_at_one_student_refuse_peers(tmp_path: Path, what: str) -> None:
    cfg = run_config(peers_config(dict(logits=KD)), tmp_path, **OURS)
    path = tmp_path / 'peers.py'
    cfg.dump(path)
    tools: dict[str, Callable[[], object]] = {
        '--why': lambda: examine(cfg),
        '--fidelity': lambda: evaluate(cfg, 'iter_4.pth', fidelity=True),
        'analyze.py': lambda: analyze(cfg),
        'visualize.py': lambda: visualize(path, tmp_path / 'out'),
    }
    message = f"model.type: .*{what} looks at one student .* got 'kd_plugins.Mutual"
    with pytest.raises(ConfigError, match=message):
        tools[what]()
