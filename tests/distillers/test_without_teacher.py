"""Runs without a teacher: what is read of the student alone, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS as HOST_MODELS
from mmengine.registry import DefaultScope
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.views import MatchedTensors

from . import tiny_seg
from .runs import assert_same_weights, train
from .tiny import (
    batch,
    cascade_rcnn,
    config,
    distiller,
    faster_rcnn,
    losses_of,
    teacher_of,
)
from .tiny_dense import fcos, retinanet
from .tiny_seg import head, segmentor

LOSSES = {
    'bake': 'BAKELoss',
    'smooth': 'LabelSmoothingLoss',
    'sure': 'TfNKDLoss',
    'own': 'USKDLoss',
    'zipf': 'ZipfLabelSmoothingLoss',
}
TASKS: dict[str, tuple[Any, Any]] = {
    'roi.logits': (faster_rcnn(), losses_of),
    'head.logits': (fcos(), losses_of),
    'seg.logits': (segmentor(), tiny_seg.losses_of),
}
OURS = dict(runner_type='kd_plugins.DistillRunner')


def pair(loss: str, view: Any = 'roi.logits', **changes: Any) -> dict[str, Any]:
    return dict(view=view, loss=dict(type=loss)) | changes


def pairs(view: str = 'roi.logits', weight: float = 1.0) -> dict[str, Any]:
    """A pair of each loss that reads no teacher."""
    return {
        name: dict(view=view, loss=dict(type=loss, loss_weight=weight))
        for name, loss in LOSSES.items()
    }


def alone_config(
    of: dict[str, Any], student: Any = None, **options: Any
) -> dict[str, Any]:
    """A distiller without a teacher."""
    cfg = config(of, student, **options)
    cfg['teacher'] = None
    return cfg


def alone(of: dict[str, Any], student: Any = None, **options: Any) -> Any:
    torch.manual_seed(0)
    model = MODELS.build(alone_config(of, student, **options))
    model.init_weights()
    return model.train()


def matched_of(model: Any, seed: int = 3) -> dict[str, list[MatchedTensors | None]]:
    """What the pairs of a step match, and which teachers ran."""
    task = tiny_seg.segment_batch if hasattr(model, 'decode_head') else batch
    prepared = task(model)
    with model.step(prepared['inputs'], prepared['data_samples']) as step:
        torch.manual_seed(seed)
        model.task_losses(step)
        matched: dict[str, list[MatchedTensors | None]] = model.match(step)
        assert not step.teachers
    return matched


# What it reads


@pytest.mark.parametrize('view', ['roi.logits', 'seg.logits'])
def test_every_loss_trains_the_student_and_the_summary_says_so(view: str) -> None:
    student, run = TASKS[view]
    model = alone(pairs(view), student)
    assert model.teachers == {}
    text = model.summary()
    assert 'no teacher: the student learns from its labels and from itself' in text
    assert '->' not in text
    losses = run(model)
    for name in LOSSES:
        assert losses[f'loss_kd_{name}'] > 0
    model.parse_losses(losses)[0].backward()
    missing = [name for name, each in model.named_parameters() if each.grad is None]
    assert missing == []  # as DistributedDataParallel requires
    assert model.losses['own'].classifier.weight.grad.any()


def test_a_missing_teacher_is_none() -> None:
    cfg = config(pairs())
    del cfg['teacher']
    assert MODELS.build(cfg).teachers == {}


@pytest.mark.parametrize('view', TASKS)
def test_it_reads_what_a_pair_with_a_teacher_reads(view: str) -> None:
    student = TASKS[view][0]
    single = alone(dict(sure=pair('TfNKDLoss', view)), student)
    prepared = tiny_seg.segment_batch(single) if view == 'seg.logits' else batch(single)
    taught = distiller(dict(kd=pair('KDLoss', view)), student, teacher_of(student))
    taught.student.load_state_dict(single.student.state_dict())
    found = []
    for model in (single, taught):
        with model.step(prepared['inputs'], prepared['data_samples']) as step:
            torch.manual_seed(3)
            model.task_losses(step)
            ((matched),) = model.match(step).values()
            found.append(matched)
    assert len(found[0]) == len(found[1]) == (3 if view == 'head.logits' else 1)
    for one, other in zip(*found, strict=True):
        assert_close(one.student, other.student)
        assert torch.equal(one.teacher, one.student) and not one.teacher.requires_grad
        assert torch.equal(one.target, other.target)
        assert torch.equal(one.mask, other.mask)
        assert float(one.count) == float(other.count)
        assert one.context == other.context


def test_rois_bring_what_their_classifier_and_their_head_read() -> None:
    of = {name: pair(LOSSES[name]) for name in ('bake', 'own')}
    model = alone(of)
    matched = matched_of(model)
    bake, own = matched['bake'][0], matched['own'][0]
    assert bake is not None and own is not None
    box_head = model.student.roi_head.bbox_head
    features = bake.features['features']
    assert_close(box_head.fc_cls(features), bake.student)
    early = own.features['early_features']
    assert early.shape == (len(own.student), 8) and early.requires_grad
    assert set(own.features) == {'early_features'}
    assert model.losses['own'].classifier.in_features == 8
    assert model.losses['own'].classifier.out_features == own.student.shape[1]


def test_early_features_of_a_roi_are_the_mean_of_what_is_pooled() -> None:
    model = alone(dict(own=pair('USKDLoss')))
    pooled: list[torch.Tensor] = []
    model.student.roi_head.bbox_head.register_forward_pre_hook(
        lambda module, args: pooled.append(args[0])
    )
    (own,) = matched_of(model)['own']
    assert own is not None
    assert_close(own.features['early_features'], pooled[-1].mean(dim=(2, 3)))


def test_pixels_bring_what_their_classifier_reads_and_an_earlier_stage() -> None:
    of = {name: pair(LOSSES[name], 'seg.logits') for name in ('bake', 'own')}
    model = alone(of, segmentor(decode=head('PSPHead', 8, dropout_ratio=0.0)))
    levels: list[torch.Tensor] = []
    model.student.backbone.register_forward_hook(
        lambda module, args, output: levels.append(output[-2])
    )
    matched = matched_of(model)
    bake, own = matched['bake'][0], matched['own'][0]
    assert bake is not None and own is not None
    features = bake.features['features']
    assert_close(model.student.decode_head.conv_seg(features), bake.student)
    resized = torch.nn.functional.interpolate(
        levels[0], own.student.shape[2:], mode='bilinear', align_corners=False
    )
    assert_close(own.features['early_features'], resized)


def test_stages_of_a_cascade_are_read_one_by_one() -> None:
    model = alone(dict(bake=pair('BAKELoss')), cascade_rcnn())
    first, second = matched_of(model)['bake']
    assert first is not None and second is not None
    heads = model.student.roi_head.bbox_head
    for item, each in zip((first, second), heads, strict=True):
        assert_close(each.fc_cls(item.features['features']), item.student)


def test_label_smoothing_of_zero_is_the_class_loss_of_the_host() -> None:
    smooth = pair('LabelSmoothingLoss')
    smooth['loss']['smoothing'] = 0.0
    losses = losses_of(alone(dict(smooth=smooth)))
    assert_close(losses['loss_kd_smooth'], losses['loss_cls'])


# Beside pairs with a teacher


def test_beside_a_pair_with_a_teacher_it_costs_no_run_of_it() -> None:
    of = dict(sure=pair('TfNKDLoss'), kd=pair('KDLoss'))
    model = distiller(of)
    losses_of(model)  # the first step tries all pairs
    prepared = batch(model)
    model.losses['kd'].loss_weight = 0.0
    with model.step(prepared['inputs'], prepared['data_samples']) as step:
        assert not step.teachers and step.active == {'sure'}
    model.losses['kd'].loss_weight = 1.0
    with model.step(prepared['inputs'], prepared['data_samples']) as step:
        assert set(step.teachers) == {'teacher'}
    rows = [line for line in model.summary().splitlines() if 'roi.logits' in line]
    assert ['->' in row for row in rows] == [True, False]


def test_of_two_teachers_it_names_none() -> None:
    teachers = dict(one=teacher_of(faster_rcnn()), two=teacher_of(faster_rcnn()))
    of = dict(sure=pair('TfNKDLoss'), kd=pair('KDLoss', teacher='two'))
    model = distiller(of, teacher=teachers)
    assert [each.teacher for each in model.pairs] == ['two', '']
    model.set_class_names(['a', 'b', 'c'])
    assert 'loss_kd_sure' in losses_of(model)


# What holds for every distillation


def test_student_trains_as_in_the_host_at_weight_zero(tmp_path: Path) -> None:
    ours = train(alone_config(pairs(weight=0.0)), tmp_path / 'ours', **OURS)
    host = train(faster_rcnn(), tmp_path / 'host')
    assert_same_weights(
        ours.model.student_state_dict(ours.model.state_dict()), host.model.state_dict()
    )
    saved = torch.load(tmp_path / 'ours' / 'student_iter_4.pth', weights_only=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        plain = HOST_MODELS.build(faster_rcnn())
    plain.load_state_dict(saved['state_dict'], strict=True)


def test_a_resumed_run_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    """With random samples of BAKE, and noise of a teacher beside it."""
    of = pairs() | dict(
        noisy=pair(
            'LogitL2Loss',
            target_transform=dict(type='NoisyTeacherTransform', granularity='row'),
        ),
    )
    of['bake']['loss'] |= dict(max_samples=4, with_background=True)
    saved = dict(
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)
        ),
        **OURS,
    )
    whole = train(config(of), tmp_path / 'whole', **saved)
    train(config(of), tmp_path / 'broken', **saved)
    for path in (tmp_path / 'broken').glob('*iter_4.pth'):
        path.unlink()
    resumed = train(config(of), tmp_path / 'broken', resume=True, **saved)
    assert_same_weights(resumed.model.state_dict(), whole.model.state_dict())


def test_a_student_that_diverges_is_named_and_no_teacher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = alone(dict(sure=pair('TfNKDLoss')))
    model.student.roi_head.bbox_head.fc_cls.weight.data.fill_(torch.nan)
    with pytest.raises(Exception, match=r"the student's tensor for model.pairs.sure"):
        losses_of(model)


# Refused


@pytest.mark.parametrize(
    ('of', 'message'),
    [
        (
            dict(kd=pair('KDLoss'), sure=pair('TfNKDLoss')),
            r"^model.pairs.kd.loss: 'KDLoss' needs a teacher, and this run has none "
            r"\(model.teacher=None\). Set model.teacher=.*without one: 'BAKELoss', ",
        ),
        (
            dict(kd=pair('KDLoss', teacher='big')),
            "^model.pairs.kd.loss: 'KDLoss' needs a teacher",
        ),
        (
            dict(
                cwtm=pair(
                    'LabelSmoothingLoss', target_transform=dict(type='CWTMTransform')
                )
            ),
            r"^model.pairs.cwtm.target_transform: 'CWTMTransform' needs a teacher",
        ),
        (
            'auto',
            "^model.pairs: 'auto' chooses what student and teacher both are, and this",
        ),
    ],
)
def test_what_asks_for_a_teacher_is_refused(of: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        alone(of)


def test_nothing_can_be_inherited() -> None:
    with pytest.raises(ConfigError, match='init_from_teacher starts the student from'):
        alone(pairs(), init_from_teacher=['neck'])


@pytest.mark.parametrize(
    ('of', 'message'),
    [
        (
            pair('TfNKDLoss', teacher='teacher'),
            r'^model.pairs.one.teacher: TfNKDLoss reads no teacher. Remove teacher',
        ),
        (
            pair('TfNKDLoss', adapter=dict(type='LinearAdapter')),
            r'^model.pairs.one.adapter: TfNKDLoss reads no teacher. Remove adapter',
        ),
        (
            pair('TfNKDLoss', 'roi.deltas'),
            r"^model.pairs.one.view: compares two models, and TfNKDLoss reads no .*'ro",
        ),
        (
            pair('TfNKDLoss', dict(type='roi.logits', roi_source='union')),
            r'^model.pairs.one.view: compares two models',
        ),
        (
            dict(layer='neck', loss=dict(type='TfNKDLoss')),
            r'^model.pairs.one.layer: compares two models',
        ),
        (
            pair('TfNKDLoss', target_transform=dict(type='DKPPTransform')),
            r"^model.pairs.one.target_transform: DKPPTransform changes the teacher's "
            r'logits, and TfNKDLoss reads none.',
        ),
    ],
)
def test_what_a_pair_cannot_do_without_a_teacher_is_refused(
    of: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        distiller(dict(one=of))


@pytest.mark.parametrize('loss', ['BAKELoss', 'USKDLoss'])
def test_features_that_a_view_does_not_know_are_refused(loss: str) -> None:
    message = rf'^model.pairs.one.loss: {loss} reads .* which head.logits\[0\] of this'
    with pytest.raises(ConfigError, match=message):
        alone(dict(one=pair(loss, 'head.logits')), retinanet())


def test_a_backbone_of_one_stage_has_no_earlier_one() -> None:
    student = segmentor(auxiliary_head=None)
    student['backbone']['out_indices'] = (1,)
    student['decode_head']['in_index'] = 0
    with pytest.raises(ConfigError, match='USKDLoss reads early_features'):
        alone(dict(one=pair('USKDLoss', 'seg.logits')), student)
    assert alone(dict(one=pair('BAKELoss', 'seg.logits')), student)


@pytest.mark.parametrize('loss', ['LabelSmoothingLoss', 'ZipfLabelSmoothingLoss'])
def test_logits_of_a_sigmoid_are_refused_before_the_first_step(loss: str) -> None:
    with pytest.raises(ConfigError, match=f'at head.*{loss} needs the logits of one'):
        alone(dict(one=pair(loss, 'head.logits')), retinanet())
