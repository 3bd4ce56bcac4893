"""Weights that are removed before a training stay zero in it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from torch import nn
from torch.testing import assert_close

from kd_plugins.engine.hooks import PruneHook
from kd_plugins.engine.hooks.prune import _as_it_predicts, prunable_weights
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.runs import train as train_detector
from tests.distillers.tiny import config as distiller_config
from tests.distillers.tiny import faster_rcnn
from tests.distillers.tiny_seg import segmentor
from tests.engine.hooks.toy import ToyStudent, build, same_state, toy_config

HOOK = dict(type='kd_plugins.PruneHook', parts=('backbone', 'head'), sparsity=0.5)


def toy(work_dir: Path, **changes: Any) -> Any:
    plain = dict(type='ToyStudent', _delete_=True)
    return toy_config(work_dir, **{'model': plain, 'custom_hooks': [HOOK], **changes})


def run(cfg: Any) -> Any:
    runner = build(cfg)
    runner.train()
    return runner


class Stop(Hook):
    """A user who stops a run after five iterations."""

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        if runner.iter == 5:
            raise KeyboardInterrupt


def zeros(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: weight == 0 for name, weight in weights.items()}


@pytest.mark.parametrize(
    'optimizer',
    [
        dict(type='AdamW', lr=0.05, weight_decay=0.1),
        dict(
            type='SGD',
            lr=0.05,
            momentum=0.9,
            weight_decay=0.1,
            nesterov=True,
            _delete_=True,
        ),
    ],
)
def test_zeros_stay_zero_and_the_others_learn(
    tmp_path: Path, optimizer: dict[str, Any]
) -> None:
    cfg = toy(tmp_path, optim_wrapper=dict(optimizer=optimizer))
    runner = build(cfg)
    before = copy.deepcopy(runner.model.state_dict())
    runner.train()
    weights = prunable_weights(runner.model, ('backbone', 'head'))
    assert list(weights) == ['backbone.0.weight', 'head.1.weight']
    number = sum(int(each.sum()) for each in zeros(weights).values())
    assert number == (6 * 4 + 2 * 6) // 2
    # Globally the least: those that went were smaller than those that stayed.
    first = {name: before[name].abs() for name in weights}
    gone = torch.cat([first[name][weights[name] == 0] for name in weights])
    stayed = torch.cat([first[name][weights[name] != 0] for name in weights])
    assert gone.max() < stayed.min()
    for name, weight in weights.items():
        moved = weight != before[name]
        assert moved.all()  # to zero, or by learning
    # What the optimiser keeps of them is zero too: they take no part in its steps.
    state = runner.optim_wrapper.optimizer.state
    for weight in weights.values():
        kept = [
            each
            for each in state[weight].values()
            if torch.is_tensor(each) and each.dim()
        ]
        assert kept and all((each[weight == 0] == 0).all() for each in kept)


def test_the_checkpoint_is_the_models_own(tmp_path: Path) -> None:
    runner = run(toy(tmp_path))
    content = torch.load(tmp_path / 'iter_10.pth', weights_only=False)
    assert content['state_dict'].keys() == ToyStudent().state_dict().keys()
    masks = content['pruning_masks']
    for name, weight in prunable_weights(runner.model, HOOK['parts']).items():
        assert torch.equal(masks[name], weight != 0)


def test_a_resumed_run_has_the_masks_of_its_start(tmp_path: Path) -> None:
    whole = run(toy(tmp_path / 'whole'))
    part = build(toy(tmp_path / 'part'))
    part.register_hook(Stop())
    with pytest.raises(KeyboardInterrupt):
        part.train()
    rest = toy(tmp_path / 'part', resume='auto')
    # Without the masks of the checkpoint it would prune again, by another share.
    rest.custom_hooks[0].sparsity = 0.9
    resumed = run(rest)
    assert resumed.iter == 10
    assert same_state(whole.model.state_dict(), resumed.model.state_dict())


def test_another_round_removes_the_zeros_first(tmp_path: Path) -> None:
    run(toy(tmp_path / 'one', custom_hooks=[{**HOOK, 'sparsity': 0.2}]))
    first = torch.load(tmp_path / 'one/iter_10.pth', weights_only=False)['state_dict']
    start = str(tmp_path / 'one/iter_10.pth')
    second = run(
        toy(
            tmp_path / 'two', load_from=start, custom_hooks=[{**HOOK, 'sparsity': 0.36}]
        )
    )
    weights = prunable_weights(second.model, HOOK['parts'])
    for name, weight in weights.items():
        assert (weight[first[name] == 0] == 0).all()
    assert sum(int(each.sum()) for each in zeros(weights).values()) == int(0.36 * 36)


def test_averaged_weights_are_pruned_too(tmp_path: Path) -> None:
    runner = run(toy(tmp_path, custom_hooks=[HOOK, dict(type='EMAHook')]))
    (ema,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    weights = prunable_weights(runner.model, HOOK['parts'])
    averaged = prunable_weights(ema.ema_model.module, HOOK['parts'])
    for name, zero in zeros(weights).items():
        assert torch.equal(zero, averaged[name] == 0)


def test_of_a_distillation_the_student_is_pruned(tmp_path: Path) -> None:
    hook = dict(type='kd_plugins.PruneHook', method='lamp', sparsity=0.6)
    runner = train_detector(distiller_config({}), tmp_path, custom_hooks=[hook])
    weights = prunable_weights(runner.model.student, ('backbone', 'neck'))
    total = sum(each.numel() for each in weights.values())
    number = sum(int(each.sum()) for each in zeros(weights).values())
    assert number == int(0.6 * total)
    teacher = runner.model.teachers['teacher'].model
    assert all(
        (each != 0).all() for each in prunable_weights(teacher, ('neck',)).values()
    )
    head = runner.model.student.rpn_head.rpn_conv.weight
    assert (head != 0).all()


def test_by_the_uncertainty_of_predictions(tmp_path: Path) -> None:
    hook = dict(type='kd_plugins.PruneHook', method='prue', sparsity=0.5, images=4)
    runs = [
        train_detector(faster_rcnn(), tmp_path / name, custom_hooks=[hook])
        for name in ('one', 'two')
    ]
    masks = [
        next(hook for hook in runner.hooks if isinstance(hook, PruneHook)).masks
        for runner in runs
    ]
    assert_close(masks[0], masks[1], rtol=0, atol=0)  # on the same images
    total = sum(each.numel() for each in masks[0].values())
    assert sum(int(each.sum()) for each in masks[0].values()) == total - total // 2
    # What learns, and how, is as it was.
    model = runs[0].model
    assert all(each.requires_grad for each in model.parameters())
    fresh = MODELS.build(faster_rcnn())
    with _as_it_predicts(fresh.train(), [fresh.neck.lateral_convs[0].conv.weight]):
        assert not fresh.training and not fresh.backbone.conv1.weight.requires_grad
    assert fresh.training and fresh.backbone.conv1.weight.requires_grad


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(sparsity=1.0), r'PruneHook: sparsity must be below 1, got 1'),
        (
            dict(sparsity=0.5, method='snip'),
            "method must be 'magnitude', 'lamp' or 'prue'",
        ),
        (
            dict(sparsity=0.5, parts='backbone'),
            r"parts must be names, .*got 'backbone'",
        ),
        (dict(sparsity=0.5, images=0), r'PruneHook: images must be'),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PruneHook(**options)


def test_parts_that_are_not_there() -> None:
    model = MODELS.build(segmentor())
    assert list(prunable_weights(model, ('backbone', 'neck')))  # it has no neck
    with pytest.raises(ConfigError, match=r"parts: EncoderDecoder has no 'rpn_head'"):
        prunable_weights(model, ('rpn_head',))
    model.dropout = nn.Dropout()
    with pytest.raises(ConfigError, match=r"no linear layer in \['dropout'\]"):
        prunable_weights(model, ('dropout',))
