"""Masks learned on a frozen teacher, and distilled with."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.losses import mask_overlap
from kd_plugins.registry import MODELS
from tests.distillers.runs import train
from tests.distillers.tiny import (
    distiller,
    faster_rcnn,
    losses_of,
    teacher_of,
    weights_of,
)
from tests.distillers.tiny_seg import losses_of as seg_losses_of
from tests.distillers.tiny_seg import segment_batch, segmentor

pytestmark = pytest.mark.host
NECK = dict(neck=dict(layer='neck', tokens=3))
LOGITS = dict(logits=dict(layer='decode_head.conv_seg', tokens=3, weighted=False))


def learner(masks: Any, teacher: Any = None, **options: Any) -> Any:
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='kd_plugins.MaskLearner',
            teacher=teacher_of(teacher or faster_rcnn()),
            masks=masks,
            **options,
        )
    )
    model.init_weights()
    return model.train()


def test_learns_by_the_losses_of_a_teacher_masked_by_hand() -> None:
    model = learner(LOGITS, segmentor(), overlap_weight=0.5)
    losses = seg_losses_of(model)
    # The teacher is in eval: no dropout.
    teacher = model.teacher.model
    tokens = model.masks.logits['0']
    prepared = segment_batch(teacher)
    head = teacher.decode_head
    with torch.no_grad():
        logits = head.forward(teacher.extract_feat(prepared['inputs']))
        masks = (logits.unsqueeze(1) * tokens.tokens.view(1, 3, -1, 1, 1)).sum(2)
        masks = masks.sigmoid()
        masked = logits * masks.sum(dim=1, keepdim=True)
        expected = head.loss_by_feat(masked, prepared['data_samples'])['loss_ce']
    assert_close(losses['decode.loss_ce'].detach(), expected)
    assert_close(losses['loss_overlap_logits'].detach(), 0.5 * mask_overlap(masks))
    assert set(losses) >= {'decode.acc_seg', 'aux.loss_ce'}


def test_predicts_as_the_masked_teacher() -> None:
    model = learner(LOGITS, segmentor())
    teacher = model.teacher.prepare(torch.device('cpu'))
    plain = teacher(**segment_batch(teacher))
    model.masks.logits['0'].tokens.data.zero_()  # all masks 1/2
    assert_close(model(**segment_batch(model)), 1.5 * plain)
    assert_close(teacher(**segment_batch(teacher)), plain)  # nothing stays attached
    (sample, _) = model.eval()(**segment_batch(model), mode='predict')
    assert sample.pred_sem_seg.data.shape == (1, 32, 32)


def test_levels_of_a_neck_each_have_their_own() -> None:
    model = learner(NECK)
    assert list(model.masks.neck) == ['0', '1', '2']
    losses = losses_of(model)
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.teacher.model.parameters())


def test_steps_lower_the_losses_and_leave_the_teacher_as_it_is() -> None:
    masks = dict(logits=dict(layer='decode_head.conv_seg', tokens=2))
    model = learner(masks, segmentor())
    seg_losses_of(model)
    before = weights_of(model.teacher.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    totals = []
    for _ in range(5):
        total, _ = model.parse_losses(seg_losses_of(model))
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[-1] < totals[0]
    assert not model.teacher.model.training
    after = model.teacher.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_run_learns_what_a_second_one_distils_with(tmp_path: Path) -> None:
    first = dict(
        type='kd_plugins.MaskLearner', teacher=teacher_of(faster_rcnn()), masks=NECK
    )
    options = dict(runner_type='kd_plugins.DistillRunner')
    runner = train(first, tmp_path / 'tokens', **options)
    path = tmp_path / 'tokens' / 'iter_4.pth'
    stored = torch.load(path, weights_only=False)['state_dict']
    assert stored and all(name.startswith('masks.neck.') for name in stored)
    assert not list(path.parent.glob('student_*'))
    assert runner.message_hub.get_scalar('val/images').current() == 4
    initial = learner(NECK).state_dict()
    assert all(not torch.equal(stored[name], initial[name]) for name in stored)

    loss = dict(type='MasKDLoss', tokens=str(path), customize_after=2)
    pairs = dict(neck=dict(layer='neck', adapter=dict(type='ConvAdapter'), loss=loss))
    second = dict(
        type='kd_plugins.Distiller',
        student=faster_rcnn(),
        teacher=teacher_of(faster_rcnn()),
        pairs=pairs,
    )
    runner = train(second, tmp_path / 'distilled', **options)
    values, _ = runner.message_hub.get_scalar('train/loss_kd_neck').data
    assert len(values) == 4
    assert all(value > 0 for value in values)
    stored = torch.load(tmp_path / 'distilled' / 'iter_4.pth', weights_only=False)
    assert not [name for name in stored['state_dict'] if name.startswith('losses.')]


def test_the_file_is_asked_for_at_the_first_step(tmp_path: Path) -> None:
    loss = dict(type='MasKDLoss', tokens=str(tmp_path / 'tokens.pth'))
    model = distiller(dict(neck=dict(layer='neck', loss=loss)))
    with pytest.raises(ValueError, match=r'pairs\.neck\.loss\.tokens: there is no'):
        losses_of(model)


def test_masks_that_cannot_be_are_refused_all_at_once() -> None:
    masks = dict(
        a=dict(layer='nek'),
        b=dict(layer='neck', token=3),
        c=dict(layer='neck', tokens=0),
        d=dict(layer='roi_head.bbox_head.shared_fcs.0'),
        e='neck',
        values=dict(layer='neck'),
    )
    with pytest.raises(ConfigError) as caught:
        learner(masks)
    for text in (
        "model.masks.a.layer: FasterRCNN has no layer 'nek'. Close: 'neck'",
        "model.masks.b: no key 'token'. Close: 'tokens'",
        'model.masks.c: tokens must be a whole number >= 1, got 0',
        "model.masks.d.layer: 'roi_head.bbox_head.shared_fcs.0' gives ",
        "model.masks.e: must be dict(layer='...'), got 'neck'",
        "model.masks.values: 'values' cannot be the name of masks",
    ):
        assert text in str(caught.value)


def test_other_faults_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'model\.masks: must be a dict such as'):
        learner({})
    with pytest.raises(ConfigError, match='a and b mask the same layer'):
        learner(dict(a=dict(layer='neck'), b=dict(layer='neck')))
    with pytest.raises(ConfigError, match=r'model\.overlap_weight must be a finite'):
        learner(NECK, overlap_weight=-1)
    teacher = teacher_of(faster_rcnn(), input_scale=2.0)
    with pytest.raises(ConfigError, match=r'model\.teacher\.input_scale: no student'):
        MODELS.build(dict(type='kd_plugins.MaskLearner', teacher=teacher, masks=NECK))


def test_layers_that_learn_nothing_are_refused() -> None:
    model = learner(dict(shared=dict(layer='rpn_head.rpn_conv')))
    with pytest.raises(
        DistillationError, match=r"gives 3 maps, but 1 at a time.*'neck'"
    ):
        losses_of(model)
    detached = learner(LOGITS, segmentor())
    head = detached.teacher.model.decode_head
    loss_by_feat = head.loss_by_feat
    head.loss_by_feat = lambda logits, samples: loss_by_feat(logits.detach(), samples)
    with pytest.raises(
        DistillationError, match=r'model\.masks\.logits\.layer: .*takes'
    ):
        seg_losses_of(detached)


def test_a_copy_shares_the_teacher() -> None:
    model = learner(LOGITS, segmentor())
    assert copy.deepcopy(model).teacher is model.teacher


def test_the_preprocessor_of_the_whole_config_is_the_teachers() -> None:
    teacher = segmentor()
    preprocessor = teacher.pop('data_preprocessor')
    model = learner(LOGITS, teacher, data_preprocessor=preprocessor)
    assert type(model.data_preprocessor).__name__ == 'SegDataPreProcessor'
    assert model.data_preprocessor is model.teacher.model.data_preprocessor
