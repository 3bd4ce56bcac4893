"""Losses with memories in pairs: trained, resumed, at weight 0, and gone at the end."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.test_auxiliary import Steps, wrapper_of
from tests.distillers.tiny import (
    distiller,
    faster_rcnn,
    losses_of,
    teacher_of,
    weights_of,
)
from tests.distillers.tiny_seg import CLASSES, head, holistic_run, segmentor
from tests.engine.hooks.toy import build, same_state, unformatted

pytestmark = pytest.mark.host


def pairs_of(weight: float = 1.0, **options: Any) -> dict[str, Any]:
    """Of logits, which both models have as many of as there are classes."""
    loss = dict(
        num_classes=CLASSES,
        student_channels=CLASSES,
        teacher_channels=CLASSES,
        loss_weight=weight,
    )
    sizes = dict(pixel_size=50, region_size=20, pixel_slots=16, region_slots=8)
    return dict(
        cirkd=dict(
            view='seg.logits', loss=dict(type='CIRKDLoss', **loss, **sizes) | options
        ),
        crd=dict(
            view='seg.logits',
            loss=dict(type='CRDLoss', **loss, queue_size=32, num_negatives=64)
            | options,
        ),
    )


def of_segmentors(**options: Any) -> Any:
    return distiller(pairs_of(**options), segmentor(), teacher_of(segmentor(8)))


def test_projections_are_stepped_with_the_student_and_memories_move() -> None:
    model = of_segmentors()
    wrapper = wrapper_of(model)
    stepped = {
        id(item) for group in wrapper.optimizer.param_groups for item in group['params']
    }
    assert {id(item) for item in model.losses.parameters()} < stepped
    before = weights_of(model)
    log_vars = Steps(model)(wrapper, 2)
    assert log_vars['loss_kd_crd'] > 0 and log_vars['loss_kd_cirkd'] > 0
    ours = {name for name in before if name.startswith('losses.')}
    still = {
        name for name in ours if torch.equal(model.state_dict()[name], before[name])
    }
    assert not still
    assert {'losses.crd.queues.rows', 'losses.cirkd.queues.pixel.written'} < ours
    state = model.student_state_dict(model.state_dict())
    MODELS.build(segmentor()).load_state_dict(state, strict=True)


def test_weight_0_leaves_student_and_memories_as_they_were() -> None:
    ours = of_segmentors(weight=0.0)
    memories = copy.deepcopy(ours.losses.state_dict())
    torch.manual_seed(0)
    host = MODELS.build(segmentor())
    host.init_weights()
    host.train()
    clip = dict(clip_grad=dict(max_norm=0.5))
    plain = build_optim_wrapper(
        host, {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.05}} | clip
    )
    Steps(ours)(wrapper_of(ours, **clip), 2)
    Steps(host)(plain, 2)
    assert same_state(ours.student.state_dict(), host.state_dict())
    assert same_state(ours.losses.state_dict(), memories)


def test_resumes_bit_for_bit_with_its_memories(tmp_path: Path) -> None:
    def train(name: str, **changes: Any) -> Any:
        cfg = holistic_run(tmp_path / name, **changes)
        cfg.model.pairs = pairs_of()
        with unformatted():
            runner = build(cfg)
            runner.train()
        return runner

    whole = train('whole')
    train('broken')
    for path in (tmp_path / 'broken').glob('*iter_4.pth'):
        path.unlink()
    resumed = train('broken', resume=True)
    assert whole.model.losses.crd.queues.written.sum() > 0
    assert same_state(resumed.model.state_dict(), whole.model.state_dict())
    saved = torch.load(tmp_path / 'whole' / 'student_iter_4.pth', weights_only=False)
    MODELS.build(segmentor()).load_state_dict(saved['state_dict'], strict=True)


def test_rois_of_objects_are_remembered() -> None:
    loss = dict(type='CRDLoss', num_classes=3, queue_size=16, num_negatives=48)
    channels = dict(student_channels=4, teacher_channels=4)
    model = distiller(dict(crd=dict(view='roi.logits', loss=loss | channels)))
    first = losses_of(model)
    written = model.losses.crd.queues.written
    assert 0 < written.sum() < 24  # of 24 RoIs, those that are no background
    assert first['loss_kd_crd'].isfinite()
    assert losses_of(model)['loss_kd_crd'] > 0


def test_what_cannot_work_is_said_before_training() -> None:
    with pytest.raises(
        ConfigError, match=r'crd\.loss at seg\.logits: student .* Set stu'
    ):
        of_segmentors(student_channels=9)
    pairs = pairs_of()
    pairs['crd'].pop('view')
    pairs['crd']['layer'] = 'decode_head.conv_seg'
    with pytest.raises(ConfigError, match='CRDLoss needs the targets of the host'):
        distiller(pairs, segmentor(), teacher_of(segmentor(8)))


def test_features_of_other_channels_with_labels() -> None:
    """The pair tells the loss how many channels either side has."""
    wide = segmentor(8, head('PSPHead', 16, pool_scales=(1, 2)) | dict(channels=12))
    sizes = dict(pixel_size=50, region_size=20, pixel_slots=16, region_slots=8)
    loss = dict(num_classes=CLASSES)
    model = distiller(
        dict(
            cirkd=dict(
                view='seg.features', loss=dict(type='CIRKDLoss', **loss, **sizes)
            ),
            crd=dict(view='seg.features', loss=dict(type='CRDLoss', **loss)),
        ),
        segmentor(),
        teacher_of(wide),
    )
    assert model.losses['crd'].teacher_projection.in_features == 12
    found = Steps(model)(wrapper_of(model), 2)
    assert found['loss_kd_crd'] > 0 and found['loss_kd_cirkd'] > 0


def test_embeddings_of_rois_with_labels() -> None:
    loss = dict(type='CRDLoss', num_classes=4, queue_size=8, num_negatives=16)
    model = distiller(
        dict(crd=dict(view='roi.features', loss=loss)),
        teacher=teacher_of(faster_rcnn(fc=24)),
    )
    losses_of(model)
    assert losses_of(model)['loss_kd_crd'] > 0
    assert model.losses['crd'].queues.state_dict()


def test_rois_of_the_teacher_have_no_labels() -> None:
    view = dict(type='roi.features', roi_source='teacher')
    loss = dict(type='CRDLoss', num_classes=4)
    with pytest.raises(ConfigError, match=r"Remove roi_source='teacher'"):
        distiller(dict(crd=dict(view=view, loss=loss)))
