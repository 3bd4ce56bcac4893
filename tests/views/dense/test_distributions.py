"""Box distributions of one-stage heads, in the regions of localization distillation."""

from typing import Any

import pytest
import torch
from mmdet.models.task_modules.assigners import ATSSAssigner
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.losses import localization_divergence
from kd_plugins.registry import MODELS
from kd_plugins.views.dense.assignment import TargetsRecorder
from kd_plugins.views.dense.heads import DenseHeadRecorder
from kd_plugins.views.dense.localization_region import valuable_region
from tests.distillers.tiny import (
    BOXES,
    CLASSES,
    batch,
    distiller,
    losses_of,
    observed,
    teacher_of,
)
from tests.distillers.tiny_dense import atss, fcos, gfl

pytestmark = pytest.mark.host
VLR = dict(type='head.distributions', region='vlr')
LD_HEAD = dict(
    type='mmdet.LDHead',
    loss_ld=dict(type='mmdet.KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10),
)
# The released scale; see LDLoss.
RELEASED = dict(type='LDLoss', mean_over_bins=True, reduction='sum')


def pairs_of(**options: Any) -> dict[str, Any]:
    return dict(
        ld=dict(view='head.distributions', loss=dict(type='LDLoss') | options),
        ld_vlr=dict(view=VLR, loss=dict(type='LDLoss') | options),
    )


def build(student: Any = None, teacher: Any = None, pairs: Any = None) -> Any:
    return distiller(
        pairs or pairs_of(),
        student=student or gfl(),
        teacher=teacher_of(teacher or gfl(8, 16)),
    )


def with_head(model: dict[str, Any], **head: Any) -> dict[str, Any]:
    model['bbox_head'].update(head)
    return model


def test_rows_of_the_main_region_are_the_hosts_positives() -> None:
    model = build()
    head = model.student.bbox_head
    with observed(model) as seen:
        found = seen.first('ld')
        logits, maps = seen.step.student.records[DenseHeadRecorder()][-1]
        labels = seen.step.student.records[TargetsRecorder()][-1][1]
        with torch.no_grad():
            teacher = seen.run.model.bbox_head(
                seen.run.model.extract_feat(seen.inputs)
            )[1]
        expected: list[list[Any]] = [[], [], []]
        for level, label in enumerate(labels):
            # As the host's loss flattens them.
            rows = [
                item[level].permute(0, 2, 3, 1).reshape(label.numel(), -1)
                for item in (maps, teacher, logits)
            ]
            positive = (label.flatten() < CLASSES).nonzero().flatten()
            expected[0].append(rows[0][positive].reshape(-1, 4, head.reg_max + 1))
            expected[1].append(rows[1][positive].reshape(-1, 4, head.reg_max + 1))
            expected[2].append(rows[2][positive].sigmoid().amax(1))
        student, other, weights = (torch.cat(item) for item in expected)
    assert len(found.student) > 3
    assert_close(found.student, student)
    assert_close(found.teacher, other)
    assert found.mask is not None
    assert_close(found.mask, weights.detach())
    assert_close(found.count, weights.detach().sum())
    assert found.student.requires_grad
    assert not found.mask.requires_grad and not found.teacher.requires_grad


# In the second of these, the host judges a quarter of the anchors of the batch.
SMALL = dict(sizes=((64, 64), (24, 24)), boxes=(BOXES[0], [[3, 2, 20, 21]]))


@pytest.mark.parametrize('options', [{}, SMALL])
def test_rows_of_the_valuable_region_go_image_by_image(options: Any) -> None:
    model = build()
    with observed(model, **options) as seen:
        found = seen.first('ld_vlr')
        maps = seen.step.student.records[DenseHeadRecorder()][-1][1]
        samples = batch(model, **options)['data_samples']
        sizes = [level.shape[2:] for level in maps]
        anchors = model.student.bbox_head.prior_generator.grid_priors(
            sizes, device='cpu'
        )
        count = 0
        for level, (anchor, level_maps) in enumerate(zip(anchors, maps, strict=True)):
            stride = 4 * 2**level
            for image, sample in enumerate(samples):
                weights = _region_of(anchors, sample)[level]
                for cell in weights.nonzero().flatten().tolist():
                    row, column = divmod(cell, level_maps.shape[3])
                    centre = (anchor[cell, :2] + anchor[cell, 2:]) / 2
                    assert_close(centre, stride * torch.tensor([column, row]).float())
                    edges = level_maps[image, :, row, column].view(4, -1)
                    assert torch.equal(found.student[count], edges)
                    assert found.mask is not None
                    assert_close(found.mask[count], weights[cell])
                    count += 1
    assert count == len(found.student) > 3


def _region_of(anchors: list[Any], sample: Any) -> list[Any]:
    """Weights a level, of the anchors of the image with its own padding."""
    height, width = sample.metainfo['pad_shape']
    kept = []
    for level in range(len(anchors)):
        stride = 4 * 2**level
        columns = -(-width // stride)
        rows = -(-height // stride)
        side = 64 // stride
        grid = torch.zeros(side, side, dtype=torch.bool)
        grid[:rows, :columns] = True
        kept.append(grid.flatten())
    weights = valuable_region(
        torch.cat([item[mask] for item, mask in zip(anchors, kept, strict=True)]),
        [int(mask.sum()) for mask in kept],
        sample.gt_instances.bboxes,
    )
    whole = torch.zeros(sum(map(len, kept)))
    whole[torch.cat(kept)] = weights
    return list(whole.split([len(mask) for mask in kept]))


def test_main_region_is_the_hosts_own_distillation_head() -> None:
    """mmdet's LDHead, given the same outputs, in the released scale."""
    model = build(pairs=pairs_of(**RELEASED | dict(loss_weight=0.25)))
    host = MODELS.build(
        gfl()['bbox_head'] | LD_HEAD | dict(train_cfg=gfl()['train_cfg'])
    )
    with observed(model) as seen:
        samples = batch(model)['data_samples']
        own = seen.step.student.records[DenseHeadRecorder()][-1]
        with torch.no_grad():
            teacher = seen.run.model.bbox_head(seen.run.model.extract_feat(seen.inputs))
        losses = host.loss_by_feat(
            *own,
            [sample.gt_instances for sample in samples],
            [sample.metainfo for sample in samples],
            teacher[1],
        )
    expected = sum(losses['loss_ld'])
    assert expected > 0
    assert_close(losses_of(model)['loss_kd_ld'], expected)


def test_losses_are_weighted_means_and_reach_the_student() -> None:
    model = build()
    with observed(model) as seen:
        expected = {}
        for name in ('ld', 'ld_vlr'):
            found = seen.first(name)
            assert found.mask is not None
            each = localization_divergence(
                found.student, found.teacher, reduction='none'
            )
            expected[name] = (each * found.mask).sum() / found.mask.sum()
    losses = losses_of(model)
    for name, value in expected.items():
        assert value > 0
        assert_close(losses[f'loss_kd_{name}'], value)
    total = losses['loss_kd_ld'] + losses['loss_kd_ld_vlr']
    total.backward()
    head = model.student.bbox_head
    assert head.gfl_reg.weight.grad.abs().sum() > 0
    assert head.gfl_cls.weight.grad is None  # weights take no gradient


def test_the_assigner_runs_once_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    calls = []
    assign = ATSSAssigner.assign

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(self)
        return assign(self, *args, **kwargs)

    monkeypatch.setattr(ATSSAssigner, 'assign', counted)
    losses_of(model)
    assert calls == [model.student.bbox_head.assigner] * 2
    assert 'get_targets' not in vars(model.student.bbox_head)


@pytest.mark.parametrize('boxes', [([], BOXES[1]), ([], [])])
def test_images_without_boxes_give_no_rows(boxes: Any) -> None:
    model = build()
    losses = losses_of(model, boxes=boxes)
    for name in ('loss_kd_ld', 'loss_kd_ld_vlr'):
        assert losses[name].isfinite() and losses[name].requires_grad
        assert (losses[name] > 0) == any(boxes)
    (losses['loss_kd_ld'] + losses['loss_kd_ld_vlr']).backward()
    gradient = model.student.bbox_head.gfl_reg.weight.grad
    assert gradient is not None and bool(gradient.any()) == any(boxes)


def test_candidates_are_as_many_as_the_assigners() -> None:
    student = gfl()
    student['train_cfg']['assigner']['topk'] = 3
    model = build(student)
    with observed(model) as seen:
        found = seen.first('ld_vlr')
    with observed(build()) as seen:
        other = seen.first('ld_vlr')
    assert len(found.student) != len(other.student)


def test_another_assigner_leaves_the_paper_nine() -> None:
    student = gfl()
    student['train_cfg']['assigner'] = dict(type='_AnyATSS', topk=3)
    from mmdet.registry import TASK_UTILS

    @TASK_UTILS.register_module(name='_AnyATSS')
    class AnyATSS:
        """Another class that assigns as ATSS does."""

        def __init__(self, topk: int) -> None:
            self.assign = ATSSAssigner(topk).assign

    try:
        with observed(build(student)) as seen:
            found = seen.first('ld_vlr')
    finally:
        TASK_UTILS.module_dict.pop('_AnyATSS')
    with observed(build()) as seen:
        expected = seen.first('ld_vlr')
    assert_close(found.mask, expected.mask)


def test_classes_may_differ_and_heads_of_the_host_teach() -> None:
    teacher = with_head(gfl(8, 16), num_classes=7, **LD_HEAD)
    model = build(teacher=teacher)
    assert losses_of(model)['loss_kd_ld'] > 0
    assert not any(pair.view.requires_same_classes for pair in model.pairs)
    assert 'Rx4x17' in model.summary()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(student=atss()),
            r'\(student\): head\.distributions needs a GFLHead or LDHead.* a ATSSHead',
        ),
        (dict(student=fcos(), teacher=fcos()), r'\(student\).* a FCOSHead'),
        (dict(teacher=atss(8, 16)), r'\(teacher\): head\.distributions needs a GFL'),
        (
            dict(teacher=with_head(gfl(8, 16), reg_max=8)),
            r'student have 17 bins, those of the teacher 9\. Set the same reg_max',
        ),
        (
            dict(
                pairs=dict(ld=dict(view='head.distributions', loss=dict(type='KDLoss')))
            ),
            r'must be \(M, K\) or',
        ),
        (
            dict(pairs=dict(ld=dict(view='head.logits', loss=dict(type='LDLoss')))),
            r"must be \(R, 4, n \+ 1\).* view='head\.distributions'",
        ),
        (
            dict(pairs=dict(ld=dict(view=VLR | dict(region='far'), loss=RELEASED))),
            r"pairs\.ld\.view: region must be 'main' or 'vlr', got 'far'",
        ),
        (
            dict(
                pairs=dict(ld=dict(view=VLR | dict(type='head.logits'), loss=RELEASED))
            ),
            r"pairs\.ld\.view: .* has no argument 'region'",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_a_head_that_assigns_elsewhere_is_told() -> None:
    model = build()
    model.student.bbox_head.loss = lambda features, samples: dict(
        loss_cls=model.student.bbox_head(features)[0][0].sum()
    )
    with pytest.raises(DistillationError, match=r"pairs\.ld: .*by 'get_targets'"):
        losses_of(model)
