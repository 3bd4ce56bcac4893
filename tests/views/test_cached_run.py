"""A cached teacher gives every view the same bits, without running."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope

from kd_plugins.recorders import LayerRecorder
from kd_plugins.registry import MODELS
from kd_plugins.views.cached_run import _name
from tests.distillers.tiny import teacher_of
from tests.distillers.tiny_seg import segment_batch
from tests.teachers.cache.marks import exact, marked
from tests.views.kinds import MAIN, Kind, batch, config_of
from tests.views.test_refusals import HINT, VIEWS

LAYERS = ('backbone', 'neck')
# One of each kind of head that views serve.
NAMES = ('mask', 'retinanet', 'gfl', 'detr', 'pixels', 'cascade of pixels')
KINDS = [pytest.param(MAIN[name], id=name) for name in NAMES]


def pairs_of(kind: Kind) -> dict[str, Any]:
    pairs = {
        re.sub(r'\W', '_', view): dict(view=view, loss=VIEWS[view])
        for view in kind.serves.split()
    }
    layers = [name for name in LAYERS if name in config_of(kind)]
    return pairs | {f'of_{name}': dict(layer=name, loss=HINT) for name in layers}


def distiller(kind: Kind, pairs: dict[str, Any], **teacher: Any) -> Any:
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='kd_plugins.Distiller',
            student=config_of(kind),
            teacher=teacher_of(config_of(kind), **teacher),
            pairs=pairs,
        )
    )
    model.init_weights()
    return model.train()


def losses(model: Any, kind: Kind, *items: int) -> dict[str, float]:
    prepared = marked(batch(model, kind), *items)
    torch.manual_seed(3)
    parsed = model.parse_losses(model(**prepared, mode='loss'))[1]
    return {key: float(value.detach()) for key, value in parsed.items()}


def forbid(model: Any) -> None:
    """No teacher may see an image any more."""

    def refuse(*_: Any) -> None:
        raise AssertionError('the teacher runs')

    for teacher in model.teachers.values():
        teacher.model.backbone.register_forward_pre_hook(refuse)


@pytest.mark.filterwarnings(
    'ignore:DeprecationWarning. ',  # as mmdet begins its own
    'ignore:This overload of addmm is deprecated',
    'ignore:torch.meshgrid',
)
@pytest.mark.parametrize('kind', KINDS)
def test_losses_are_the_same_bits_whether_a_teacher_runs_or_not(
    kind: Kind, tmp_path: Path
) -> None:
    pairs = pairs_of(kind)
    plain = distiller(kind, pairs, fast=False)
    expected = [losses(plain, kind, 0, 1) for _ in range(2)]
    assert len([key for key in expected[0] if 'loss_kd_' in key]) == len(pairs)
    filling = distiller(kind, pairs, cache=exact(tmp_path))
    assert losses(filling, kind, 0, 1) == expected[0]
    reading = distiller(kind, pairs, cache=exact(tmp_path))
    assert losses(reading, kind, 0, 1) == expected[0]
    forbid(reading)
    assert losses(reading, kind, 0, 1) == expected[1]
    (shelf,) = reading.teachers['teacher'].cache.shelves
    assert (shelf.hits, shelf.misses) == (4, 0)


def test_only_what_pairs_read_is_stored(tmp_path: Path) -> None:
    kind = MAIN['gfl']
    pairs = dict(a=dict(view='head.logits', loss=HINT))
    losses(distiller(kind, pairs, cache=exact(tmp_path)), kind, 0, 1)
    names = {path.stem for path in tmp_path.rglob('*.index')}
    # Class logits of five levels; no distributions, no features.
    assert names == {f'head.bbox_head.0.0.{level}' for level in range(5)}


def test_a_level_that_is_not_compared_is_not_stored(tmp_path: Path) -> None:
    kind = MAIN['retinanet']
    pairs = dict(a=dict(layer='neck', levels=[2], loss=HINT))
    losses(distiller(kind, pairs, cache=exact(tmp_path)), kind, 0, 1)
    (index,) = tmp_path.rglob('*.index')
    assert index.stem == 'features@neck.output.2'


def test_features_that_a_roi_head_reads_are_those_of_a_neck_pair(
    tmp_path: Path,
) -> None:
    kind = MAIN['two-stage']
    pairs = dict(
        hint=dict(layer='neck', loss=HINT), roi=dict(view='roi.logits', loss=HINT)
    )
    losses(distiller(kind, pairs, cache=exact(tmp_path)), kind, 0, 1)
    names = {path.stem for path in tmp_path.rglob('*.index')}
    assert names == {f'features.{level}' for level in range(5)}


def test_a_teacher_runs_once_a_step_whatever_is_missing(tmp_path: Path) -> None:
    kind = MAIN['gfl']
    pairs = dict(
        neck=dict(layer='neck', loss=HINT), head=dict(view='head.logits', loss=HINT)
    )
    model = distiller(kind, pairs, cache=exact(tmp_path, recheck=0.0))
    calls: list[int] = []
    teacher = model.teachers['teacher'].model
    teacher.backbone.register_forward_hook(lambda *_: calls.append(0))
    teacher.bbox_head.register_forward_hook(lambda *_: calls.append(1))
    for items, expected in (((0, 1), 1), ((2, 3), 2), ((0, 1), 2)):
        losses(model, kind, *items)
        assert sorted(calls) == [0] * expected + [1] * expected


def test_a_stored_image_keeps_its_record_in_a_batch_with_others(
    tmp_path: Path,
) -> None:
    kind = MAIN['pixels']
    pairs = dict(a=dict(view='seg.logits', loss=HINT))
    model = distiller(kind, pairs, cache=exact(tmp_path))
    images, samples = segment_batch(model, images=3).values()

    def step(*items: int) -> bytes:
        some = dict(
            inputs=images[list(items)], data_samples=[samples[item] for item in items]
        )
        model(**marked(some, *items), mode='loss')
        (path,) = tmp_path.rglob('*.records')
        return path.read_bytes()

    first = step(0, 1)
    second = step(1, 2)
    stride = len(first) // 12
    changed = {at // stride for at in range(len(first)) if first[at] != second[at]}
    assert changed == {2}
    (shelf,) = model.teachers['teacher'].cache.shelves
    assert (shelf.hits, shelf.misses) == (1, 3)


def test_names_of_computations() -> None:
    recorder = LayerRecorder('bbox_head.cls_convs.0', value='input')
    assert _name('features') == 'features'
    assert _name(('head', 'bbox_head')) == 'head.bbox_head'
    assert _name((('head', 'bbox_head'), recorder)) == (
        'head.bbox_head@bbox_head.cls_convs.0.input'
    )
    assert _name('encoder memory') == 'encoder_memory'
