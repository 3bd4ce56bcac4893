"""Labels of the points of one-stage heads: those that the student's own loss asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.losses import decoupled_divergence, normalized_cross_entropy
from tests.distillers.tiny import (
    BOXES,
    CLASSES,
    batch,
    distiller,
    losses_of,
    observed,
    teacher_of,
)
from tests.distillers.tiny_dense import atss, fcos, gfl, retinanet, rtmdet

pytestmark = pytest.mark.host
MODELS = dict(fcos=fcos, retinanet=retinanet, atss=atss, gfl=gfl, rtmdet=rtmdet)


def build(kind: Any, loss: Any = 'NKDLoss', **options: Any) -> Any:
    pairs = dict(a=dict(view='head.logits', loss=dict(type=loss)))
    return distiller(pairs, student=kind(), teacher=teacher_of(kind(8, 16)), **options)


@contextmanager
def asked(loss: Any) -> Iterator[list[Any]]:
    """Logits, labels and weights that a head's own loss is called with."""
    calls: list[Any] = []

    def called(module: Any, args: Any, options: dict[str, Any]) -> None:
        labels = args[1][0] if isinstance(args[1], tuple) else args[1]
        weights = args[2] if len(args) > 2 else options.get('weight')
        weights = torch.ones(labels.shape) if weights is None else weights
        calls.append((args[0], labels, weights))

    handle = loss.register_forward_pre_hook(called, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def in_order_of_the_host(maps: Any, anchors: int) -> Any:
    """(N A, ..., H, W) as rows of places, of each all its anchors."""
    columns = maps.shape[1:-2]
    whole = maps.reshape(2, anchors, -1, *maps.shape[-2:])
    return whole.permute(0, 3, 4, 1, 2).reshape(-1, *columns)


@pytest.mark.parametrize('kind', MODELS)
def test_labels_are_those_of_the_hosts_loss(kind: str) -> None:
    model = build(MODELS[kind])
    anchors = 2 if kind == 'retinanet' else 1
    with (
        asked(model.student.bbox_head.loss_cls) as calls,
        observed(model) as seen,
    ):
        found = [item for item in seen.matched['a'] if item is not None]
    logits, labels, weights = (torch.cat(item) for item in zip(*calls, strict=True))
    rows = [
        torch.cat([in_order_of_the_host(item, anchors) for item in maps])
        for maps in zip(
            *((item.student, item.target, item.mask) for item in found), strict=True
        )
    ]
    assert torch.equal(rows[0], logits)
    assert torch.equal(rows[1], labels)
    assert (labels < CLASSES).sum() > 3 and labels.max() == CLASSES
    offset = 0.5 if kind == 'fcos' else 0.0
    inside = torch.cat(
        [in_order_of_the_host(_inside(item.mask, offset), anchors) for item in found]
    )
    assert torch.equal(rows[2], inside * (weights > 0))
    left_out = ((weights == 0) & (inside > 0)).sum()
    assert (left_out > 0) == (kind == 'retinanet')  # neither object nor background
    assert sum(item.count for item in found) == rows[2].sum()


def test_labels_of_images_that_are_no_squares() -> None:
    model = build(retinanet)
    wide = dict(
        sizes=((32, 64), (32, 64)),
        boxes=([[4, 6, 28, 30], [30, 2, 60, 28]], [[10, 4, 40, 28]]),
    )
    with (
        asked(model.student.bbox_head.loss_cls) as calls,
        observed(model, **wide) as seen,
    ):
        found = [item for item in seen.matched['a'] if item is not None]
    for item, (logits, labels, weights) in zip(found, calls, strict=True):
        for maps, rows in (
            (item.student, logits),
            (item.target, labels),
            (item.mask, (weights > 0).float()),
        ):
            assert maps is not None
            assert torch.equal(in_order_of_the_host(maps, 2), rows)
    assert sum((labels < CLASSES).sum() for _, labels, _ in calls) > 2


def _inside(maps: Any, offset: float) -> Any:
    """Points in the second image, 56 x 60, of the batch; the first has no padding."""
    stride = 64 // maps.shape[-1]
    centres = (torch.arange(64 // stride) + offset) * stride
    mask = torch.ones(2, len(maps) // 2, *maps.shape[1:])
    mask[1] *= (centres < 56)[:, None] & (centres < 60)
    return mask.flatten(0, 1)


@pytest.mark.parametrize(
    ('loss', 'function'),
    [('NKDLoss', normalized_cross_entropy), ('DKDLoss', decoupled_divergence)],
)
def test_losses_of_labels_reach_the_student(loss: str, function: Any) -> None:
    model = build(retinanet, loss)
    with observed(model) as seen:
        expected = torch.stack(
            [
                function(
                    item.student,
                    item.teacher,
                    target=item.target,
                    mask=item.mask,
                    use_sigmoid=True,
                )
                for item in seen.matched['a']
                if item is not None
            ]
        ).mean()
    losses = losses_of(model)
    assert_close(losses['loss_kd_a'], expected)
    losses['loss_kd_a'].backward()
    assert model.student.bbox_head.retina_cls.weight.grad.abs().sum() > 0


def test_nothing_is_assigned_twice_and_the_hosts_losses_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = dict(
        a=dict(view='head.logits', loss=dict(type='NKDLoss')),
        b=dict(view='head.logits', loss=dict(type='DKDLoss')),
        c=dict(view='head.deltas', loss=dict(type='TeacherBoundedLoss')),
    )
    model = distiller(pairs, student=retinanet(), teacher=teacher_of(retinanet(8, 16)))
    prepared = batch(model)
    torch.manual_seed(3)
    alone = model.student(**prepared, mode='loss')
    state = torch.get_rng_state()
    calls = []
    assign = MaxIoUAssigner.assign

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(self)
        return assign(self, *args, **kwargs)

    monkeypatch.setattr(MaxIoUAssigner, 'assign', counted)
    losses = losses_of(model)
    assert calls == [model.student.bbox_head.assigner] * 2  # once an image
    assert torch.equal(state, torch.get_rng_state())
    for name, values in alone.items():
        assert all(map(torch.equal, values, losses[name]))
    assert 'get_targets' not in vars(model.student.bbox_head)


@pytest.mark.parametrize('boxes', [([], BOXES[1]), ([], [])])
@pytest.mark.parametrize('kind', ['fcos', 'gfl'])
def test_images_without_boxes_are_background(kind: str, boxes: Any) -> None:
    model = build(MODELS[kind])
    with observed(model, boxes=boxes) as seen:
        for item in seen.matched['a']:
            assert item is not None and item.target is not None
            assert (item.target[0] == CLASSES).all()
    assert losses_of(model, boxes=boxes)['loss_kd_a'].isfinite()


@pytest.mark.filterwarnings('ignore:Sparse invariant checks')  # the host's
def test_heads_that_assign_otherwise_give_no_labels() -> None:
    """FreeAnchor chooses among its anchors in the loss itself."""
    pairs = dict(a=dict(view='head.logits', loss=dict(type='NKDLoss')))

    def free(base: int = 4, width: int = 8) -> Any:
        loss = dict(type='mmdet.SmoothL1Loss', beta=0.11)
        return retinanet(base, width, type='mmdet.FreeAnchorRetinaHead', loss_bbox=loss)

    with pytest.raises(ConfigError, match=r"'head\.logits' has labels of Retina"):
        distiller(pairs, student=free(), teacher=teacher_of(retinanet(8, 16)))
    model = build(free, 'PixelWiseLoss')
    with observed(model) as seen:
        assert all(item and item.target is None for item in seen.matched['a'])
    assert losses_of(model)['loss_kd_a'] > 0
    # As a teacher, only its answers count.
    model = distiller(pairs, student=retinanet(), teacher=teacher_of(free(8, 16)))
    assert losses_of(model)['loss_kd_a'] > 0


def test_a_loss_that_computes_no_targets_is_told() -> None:
    model = build(fcos)
    model.student.bbox_head.loss = lambda features, samples: dict(
        loss_cls=model.student.bbox_head(features)[0][0].sum()
    )
    message = r"pairs\.a: .*by 'get_targets'.*'head\.logits' has nothing to match"
    with pytest.raises(DistillationError, match=message):
        losses_of(model)
