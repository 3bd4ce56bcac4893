"""Batches whose images are mixed two by two, before anybody sees them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.engine.hooks import BoxWeightsHook, MixedBatchesHook
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers import tiny_dense
from tests.distillers.runs import assert_same_weights, train
from tests.distillers.tiny import (
    config,
    distiller,
    faster_rcnn,
    hint,
    mask_rcnn,
    raw_batch,
    teacher_of,
    weights_of,
)
from tests.distillers.tiny_seg import raw_segments, segmentor

LOGITS = dict(view='seg.logits', loss=dict(type='KDLoss'))


def started(model: Any, *others: Any, **options: Any) -> tuple[Any, Any]:
    """The hook, on a run that begins."""
    hook = MixedBatchesHook(**options)
    runner = SimpleNamespace(model=model, iter=5, hooks=[hook, *others])
    hook.before_train(runner)
    return hook, runner


def built(model: Any) -> Any:
    return MODELS.build(model).train()


def test_student_and_teacher_see_the_mixed_image() -> None:
    model = distiller(
        dict(logits=LOGITS), segmentor(), teacher_of(segmentor(auxiliary_head=None))
    )
    hook, runner = started(model, seed=1)
    batch, plain = raw_segments(), raw_segments()
    hook.before_train_iter(runner, 0, batch)
    one, two = (image.float() for image in plain['inputs'])
    mixed = batch['inputs'][0]
    weight = ((mixed - two).sum() / (one - two).sum()).item()
    assert 0.02 < weight < 0.98
    assert_close(mixed, weight * one + (1 - weight) * two, rtol=0, atol=1e-2)
    seen: list[torch.Tensor] = []
    for each in (model.student, model.teachers['teacher'].model):
        each.backbone.register_forward_pre_hook(
            lambda _module, args: seen.append(args[0].detach().clone())
        )
    data = model.data_preprocessor(batch, True)
    losses = model(**data, mode='loss')
    hook.after_train_iter(runner, 0)
    assert len(seen) == 2
    for each in seen:
        assert_close(each, data['inputs'], rtol=0, atol=1e-4)
    assert 'loss_by_feat' not in model.student.decode_head.__dict__
    # The pair compares as ever; of the labels both maps count.
    once = model(**model.data_preprocessor(batch, True), mode='loss')
    assert not torch.equal(losses['decode.loss_ce'], once['decode.loss_ce'])


def test_boxes_of_both_images_are_learned_with_weights() -> None:
    hook, runner = started(built(faster_rcnn()), seed=1)
    batch = raw_batch(sizes=((64, 64), (64, 64)))
    hook.before_train_iter(runner, 0, batch)
    head = runner.model.roi_head.bbox_head
    assert 'get_targets' in head.__dict__
    for sample in batch['data_samples']:
        assert len(sample.gt_instances) == 3
    first, second = (sample.gt_instances.weights for sample in batch['data_samples'])
    assert first[0] == first[1] != second[0]
    assert_close(first[1] + first[2], torch.tensor(1.0))
    assert_close(second[0] + second[1:], torch.ones(2))
    hook.after_train_iter(runner, 0)
    assert 'get_targets' not in head.__dict__


def test_the_hook_of_weights_is_not_doubled() -> None:
    hook, runner = started(built(faster_rcnn()), BoxWeightsHook(), seed=1)
    hook.before_train_iter(runner, 0, raw_batch())
    assert 'get_targets' not in runner.model.roi_head.bbox_head.__dict__


def test_an_iteration_draws_the_same_whatever_was_before() -> None:
    hook, runner = started(built(faster_rcnn()))
    batches = []
    for iteration in (5, 6, 5):
        torch.manual_seed(len(batches))
        runner.iter = iteration
        batches.append(raw_batch())
        hook.before_train_iter(runner, 0, batches[-1])
        hook.after_train_iter(runner, 0)
    one, other, again = (batch['inputs'][0] for batch in batches)
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_nothing_mixed_is_as_without_the_hook(tmp_path: Path) -> None:
    def weights(name: str, hooks: list[Any]) -> Any:
        model = config(dict(neck=hint()))
        runner = train(model, tmp_path / name, custom_hooks=hooks)
        return weights_of(runner.model)

    plain = weights('plain', [])
    hook = dict(type='kd_plugins.MixedBatchesHook', share=0.0)
    assert_same_weights(weights('none', [hook]), plain)
    mixed = weights('all', [dict(hook, share=1.0)])
    key = 'student.neck.lateral_convs.0.conv.weight'
    assert not torch.equal(mixed[key], plain[key])


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (mask_rcnn(), 'MaskRCNN learns instance masks'),
        (tiny_dense.retinanet(), 'RetinaNet has none. Set weigh_boxes=False'),
    ],
    ids=['masks', 'one stage'],
)
def test_what_cannot_learn_from_mixed_images(model: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        started(built(model))


def test_a_one_stage_detector_counts_all_boxes_in_full() -> None:
    hook, runner = started(built(tiny_dense.retinanet()), weigh_boxes=False, seed=1)
    batch = raw_batch()
    hook.before_train_iter(runner, 0, batch)
    assert batch['data_samples'][0].gt_instances.weights.tolist() == [1.0] * 3
    hook.after_train_iter(runner, 0)


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        (dict(type='kd_plugins.Privileged'), "'teacher' sees other images"),
        (dict(cache=dict(folder='cache')), "'teacher' has a cache"),
    ],
)
def test_a_teacher_that_would_not_see_them(
    teacher: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = distiller(
        dict(logits=LOGITS), segmentor(), teacher_of(segmentor(), **teacher)
    )
    with pytest.raises(ConfigError, match=message):
        started(model)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(alpha=0), 'alpha must be a finite number > 0'),
        (dict(share=1.5), 'share must be at most 1, got 1.5'),
        (dict(seed=-1), 'seed must be a whole number >= 0'),
        (dict(weigh_boxes=1), 'weigh_boxes must be True or False'),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MixedBatchesHook(**options)


def test_a_batch_of_another_form() -> None:
    hook, runner = started(built(faster_rcnn()))
    with pytest.raises(ConfigError, match=r"pseudo_collate makes them, got \['inputs'"):
        hook.before_train_iter(runner, 0, dict(inputs=torch.zeros(2, 3, 4, 4)))
