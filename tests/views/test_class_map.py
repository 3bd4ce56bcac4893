"""A teacher of other classes is asked for those that it shares with the student."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.views.dense.assignment import TargetsRecorder
from kd_plugins.views.dense.heads import DenseHeadRecorder
from kd_plugins.views.roi.outputs import RoIRecorder
from kd_plugins.visualization.maps import choose_pairs, pair_maps
from tests.distillers.test_auxiliary import wrapper_of
from tests.distillers.tiny import (
    batch,
    cascade_rcnn,
    config,
    distiller,
    faster_rcnn,
    losses_of,
    observed,
    raw_batch,
    teacher_of,
    weights_of,
)
from tests.distillers.tiny_dense import fcos, retinanet
from tests.distillers.tiny_seg import head, segmentor
from tests.distillers.tiny_seg import losses_of as seg_losses_of
from tests.views.seg.test_seg import matched_of

pytestmark = pytest.mark.host

OWN = ('cat', 'dog', 'cow')
WIDE = ('bird', 'kine', 'cat', 'horse', 'dog')
ALL = dict(student=OWN, teacher=WIDE, rename={'kine': 'cow'})
COLUMNS = [2, 4, 1]  # of the student's classes, in the teacher
PART = dict(student=OWN, teacher=WIDE[:4], rename={'kine': 'cow'})  # no dog
RCNN = dict(
    cls=dict(view='roi.logits', loss=dict(type='KDLoss', temperature=2.0)),
    reg=dict(view='roi.deltas', loss=dict(type='DeltaL2Loss')),
)


def rcnn(classes: int, **changes: Any) -> ConfigDict:
    return faster_rcnn(base=8, roi_head__bbox_head=dict(num_classes=classes, **changes))


def detector(pairs: dict[str, Any], mapping: Any, teacher: Any, **options: Any) -> Any:
    return distiller(pairs, teacher=teacher_of(teacher, class_map=mapping), **options)


def loaded(model: Any) -> Any:
    """The teacher, its random weights drawn."""
    return model.teachers['teacher'].prepare(torch.device('cpu'))


def reorder(wide: Any, plain: Any, rows: dict[str, Sequence[int]]) -> None:
    """Give a teacher of more classes what one of the student's knows, row by row.

    Args:
        wide: distiller with the teacher of more classes.
        plain: distiller with that of the student's.
        rows: in the wide teacher those of the plain one's, by part of a layer's name.
    """
    source, teacher = loaded(plain).state_dict(), loaded(wide)
    target = teacher.state_dict()
    for name, value in source.items():
        found = [own for part, own in rows.items() if part in name]
        if found:
            target[name][list(found[0])] = value
        else:
            target[name] = value
    teacher.load_state_dict(target)


def kd(losses: dict[str, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in losses.items() if key.startswith('loss_kd')}


def check_same_lesson(wide: Any, plain: Any, found: Any = losses_of) -> None:
    """Same losses of both distillers, and the same gradient at the student."""
    gradients = []
    for model in (wide, plain):
        losses = kd(found(model))
        assert all(value > 0 for value in losses.values())
        torch.stack(list(losses.values())).sum().backward()
        gradients.append((losses, [own.grad for own in model.student.parameters()]))
    (losses, own), (expected, other) = gradients
    assert_close(losses, expected)
    for gradient, wanted in zip(own, other, strict=True):
        assert (gradient is None) == (wanted is None)
        if gradient is not None:
            assert_close(gradient, wanted)


WEIGHTED = dict(
    type='WeightedClassKDLoss', class_weights=[1.0, 2.0, 3.0, 1.5], loss_weight=2.0
)


@pytest.mark.parametrize(
    'changes', [{}, dict(cls=dict(view='roi.logits', loss=WEIGHTED))], ids=['', 'each']
)
def test_a_roi_head_of_more_classes_in_another_order_teaches_the_same(
    changes: dict[str, Any],
) -> None:
    pairs = RCNN | changes
    wide, plain = detector(pairs, ALL, rcnn(5)), detector(pairs, None, rcnn(3))
    deltas = [4 * column + side for column in COLUMNS for side in range(4)]
    reorder(wide, plain, {'fc_cls': [*COLUMNS, 5], 'fc_reg': deltas})
    check_same_lesson(wide, plain)
    # What else it knows has no say.
    before = kd(losses_of(wide))
    with torch.no_grad():
        loaded(wide).roi_head.bbox_head.fc_cls.bias[[0, 3]] += 5
        loaded(wide).roi_head.bbox_head.fc_reg.bias[:4] += 5
    assert_close(kd(losses_of(wide)), before)


@pytest.mark.parametrize(('kind', 'anchors'), [(fcos, 1), (retinanet, 2)])
def test_a_dense_head_of_more_classes_teaches_the_same(kind: Any, anchors: int) -> None:
    pairs = dict(a=dict(view='head.logits', loss=dict(type='PixelWiseLoss')))
    more = kind(8, 16)
    more['bbox_head']['num_classes'] = 5
    wide = detector(pairs, ALL, more, student=kind())
    plain = detector(pairs, None, kind(8, 16), student=kind())
    rows = [5 * anchor + column for anchor in range(anchors) for column in COLUMNS]
    reorder(wide, plain, {'conv_cls': rows, 'retina_cls': rows})
    check_same_lesson(wide, plain)


def pspnet(classes: int) -> dict[str, Any]:
    """A wider one; its auxiliary head stays as it is."""
    return segmentor(8, head('PSPHead', 16, pool_scales=(1, 2), num_classes=classes))


PIXELS = dict(a=dict(view='seg.logits', loss=dict(type='PixelWiseLoss')))
LAND = ('road', 'grass', 'house', 'sky')


def test_a_decode_head_of_more_classes_teaches_the_same() -> None:
    more = ('sea', 'sky', 'lawn', 'house', 'boat', 'road')
    mapping = dict(student=LAND, teacher=more, rename={'lawn': 'grass'})
    wide = detector(PIXELS, mapping, pspnet(6), student=segmentor())
    plain = detector(PIXELS, None, pspnet(4), student=segmentor())
    reorder(wide, plain, {'decode_head.conv_seg': [5, 2, 3, 1]})
    check_same_lesson(wide, plain, seg_losses_of)


# Classes of the student that the teacher does not know.


def test_rois_of_classes_that_are_not_shared_are_masked() -> None:
    model = detector(RCNN, PART, rcnn(4))
    with observed(model) as seen:
        student, run = seen.step.student.records[RoIRecorder()][0], seen.run
        with torch.no_grad():
            features = run.model.extract_feat(seen.inputs)
            answer = run.model.roi_head._bbox_forward(features, student.rois)
        logits, deltas = seen.first('cls'), seen.first('reg')
    labels = student.targets[0]
    assert set(labels.tolist()) == {0, 1, 3}  # cats, a dog, background
    assert_close(logits.student, student.logits[:, [0, 2, 3]])
    assert_close(logits.teacher, answer['cls_score'][:, [2, 1, 4]])
    assert logits.target is not None and logits.mask is not None
    assert torch.equal(logits.mask, (labels != 1).float())
    assert logits.count == (labels != 1).sum()
    numbers = torch.tensor([0, 0, 1, 2])[labels]
    assert torch.equal(logits.target, numbers)
    assert logits.context.background == 2
    cats = labels == 0
    assert deltas.mask is not None
    assert torch.equal(deltas.mask, cats.float())
    assert_close(deltas.teacher[cats], answer['bbox_pred'][cats, 8:12])
    assert_close(deltas.student[cats], student.deltas[cats, :4])
    assert deltas.count == (labels != 1).sum()
    (pair, _) = model.pairs
    assert [spec.student for spec in pair.tensors] == [(-1, 3)]


def test_masking_is_leaving_those_rois_out() -> None:
    model = detector(dict(cls=RCNN['cls']), PART, rcnn(4))
    with observed(model) as seen:
        found = seen.first('cls')
    assert found.mask is not None
    kept = found.mask.bool()
    own, other = (
        (item[kept] / 2).log_softmax(dim=1) for item in (found.student, found.teacher)
    )
    expected = 4 * (other.exp() * (other - own)).sum(dim=1).mean()
    assert_close(losses_of(model)['loss_kd_cls'], expected)


@pytest.mark.parametrize('own', [False, True], ids=['specific', 'agnostic'])
def test_a_class_agnostic_teacher_knows_the_boxes_of_every_class(own: bool) -> None:
    student = faster_rcnn(roi_head__bbox_head=dict(reg_class_agnostic=own))
    pairs = dict(reg=RCNN['reg'])
    teacher = rcnn(4, reg_class_agnostic=True)
    model = detector(pairs, PART, teacher, student=student)
    with observed(model) as seen:
        found = seen.first('reg')
        labels = seen.step.student.records[RoIRecorder()][0].targets[0]
    assert found.mask is not None
    assert torch.equal(found.mask, (labels < 3).float()) and found.count == len(labels)
    # Of a class-specific teacher it is asked for a class.
    model = detector(pairs, PART, rcnn(4), student=student)
    with observed(model) as seen:
        found = seen.first('reg')
    assert found.mask is not None and torch.equal(found.mask, (labels == 0).float())


def test_no_roi_of_a_shared_class() -> None:
    mapping = dict(student=OWN, teacher=WIDE[:2], rename={'kine': 'cow'})
    model = detector(RCNN, mapping, rcnn(2))
    losses = losses_of(model)
    assert losses['loss_kd_reg'] == 0 and losses['loss_kd_reg'].requires_grad
    assert losses['loss_kd_cls'] > 0  # background, or a cow


def test_each_stage_of_a_cascade_and_the_teachers_own_rois() -> None:
    student = cascade_rcnn()
    model = detector(dict(cls=RCNN['cls']), PART, rcnn(4), student=student)
    with observed(model) as seen:
        shapes = [item.student.shape[1] for item in seen.matched['cls'] if item]
        assert shapes == [3, 3]
    view = dict(type='roi.logits', roi_source='union')
    pair = dict(view=view, loss=dict(type='KDLoss'))
    with observed(detector(dict(cls=pair), PART, rcnn(4))) as seen:
        found = seen.first('cls')
    assert found.mask is None and found.target is None
    assert found.student.shape == found.teacher.shape == (int(found.count), 3)


def test_dense_heads_give_the_shared_columns() -> None:
    more = fcos(8, 16)
    more['bbox_head']['num_classes'] = 4
    pairs = dict(a=dict(view='head.logits', loss=dict(type='PixelWiseLoss')))
    model = detector(pairs, PART, more, student=fcos())
    specs = model.pairs[0].tensors
    shapes = [(1, 2, side, side) for side in (32, 16, 8)]
    assert [spec.student for spec in specs] == shapes
    assert [spec.teacher for spec in specs] == shapes
    with observed(model) as seen:
        scores = seen.step.student.records[DenseHeadRecorder()][-1][0]
        labels = seen.step.student.records[TargetsRecorder()][-1][0]
        with torch.no_grad():
            features = seen.run.model.extract_feat(seen.inputs)
            expected = seen.run.model.bbox_head(features)[0]
        for item, own, other, level in zip(
            seen.matched['a'], scores, expected, labels, strict=True
        ):
            assert item is not None and item.target is not None
            assert torch.equal(item.student, own[:, [0, 2]])
            assert_close(item.teacher, other[:, [2, 1]])
            # 'dog' is not shared; the background, 3, comes behind those that are.
            label, kept = level.view_as(item.target), item.mask
            assert kept is not None and not kept[label == 1].any()
            for before, after in ((0, 0), (2, 1), (3, 2)):
                assert (item.target[label == before] == after).all()
        assert any((level == 1).any() for level in labels)


@torch.no_grad()
def test_pictures_of_dense_heads_show_the_shared_columns() -> None:
    more = fcos(8, 16)
    more['bbox_head']['num_classes'] = 4
    pairs = dict(a=dict(view='head.logits', loss=dict(type='PixelWiseLoss')))
    model = detector(pairs, PART, more, student=fcos())
    data = batch(model)
    found = pair_maps(model, choose_pairs(model, None), *data.values())
    loaded_teacher = loaded(model)
    expected = loaded_teacher.bbox_head(loaded_teacher.extract_feat(data['inputs']))[0]
    for item, level in zip(found, expected, strict=True):
        assert_close(item.teacher, level[:, [2, 1]])


@pytest.mark.parametrize('size', ['student', 'teacher'])
def test_pixels_of_classes_that_are_not_shared_are_masked(size: str) -> None:
    mapping = dict(student=LAND, teacher=('sky', 'sea', 'road'))
    view = dict(type='seg.logits', size=size)
    pairs = dict(a=dict(view=view, loss=dict(type='PixelWiseLoss')))
    wide = detector(pairs, mapping, pspnet(3), student=segmentor())
    plain = detector(pairs, None, pspnet(4), student=segmentor())
    found, teacher, inputs = matched_of(wide)
    whole, _, _ = matched_of(plain)
    assert found.target is not None and found.mask is not None
    assert whole.target is not None and whole.mask is not None
    with torch.no_grad():
        expected = teacher.decode_head.forward(teacher.extract_feat(inputs))
    assert_close(found.student, whole.student[:, [0, 3]])
    assert_close(found.teacher, expected[:, [2, 0]])
    shared = (whole.target == 0) | (whole.target == 3)
    assert torch.equal(found.mask, whole.mask * shared)
    assert found.mask.sum() == found.count and 0 < found.count < whole.count
    kept = found.mask.bool()
    assert torch.equal(found.target[kept], (whole.target[kept] == 3).long())
    assert int(found.target.max()) == 1
    (pair,) = wide.pairs
    assert pair.tensors[0].student == (1, 2, 16, 16)
    assert seg_losses_of(wide)['loss_kd_a'] > 0


# Training.


def test_two_iterations_teach_the_student_and_leave_the_teacher() -> None:
    pairs = RCNN | dict(
        hint=dict(view='roi.features', loss=dict(type='HintLoss')),
        rpn=dict(view='rpn.logits', loss=dict(type='WeightedClassKDLoss')),
    )
    model = detector(pairs, PART, rcnn(4))
    teacher, wrapper = weights_of(loaded(model)), wrapper_of(model)
    before = weights_of(model.student)
    for _ in range(2):
        told = model.train_step(raw_batch(), wrapper)
        for name in pairs:
            assert told[f'loss_kd_{name}'].isfinite() and told[f'loss_kd_{name}'] > 0
    after = weights_of(model.student)
    assert any(not torch.equal(before[name], value) for name, value in after.items())
    for name, value in loaded(model).state_dict().items():
        assert torch.equal(value, teacher[name]), name


def test_the_students_own_losses_are_as_without_a_map() -> None:
    model = detector(RCNN, PART, rcnn(4))
    prepared = batch(model)
    torch.manual_seed(3)
    alone = model.student(**prepared, mode='loss')
    losses = losses_of(model)
    assert set(losses) - set(alone) == {'loss_kd_cls', 'loss_kd_reg'}
    for name, value in alone.items():
        for own, other in zip(_listed(value), _listed(losses[name]), strict=True):
            assert torch.equal(own, other), name
    # A class that is not shared learns from its labels alone.
    losses['loss_kd_cls'].backward()
    gradient = model.student.roi_head.bbox_head.fc_cls.weight.grad
    assert not gradient[1].any()
    assert all(gradient[column].any() for column in (0, 2, 3))


def _listed(value: Any) -> list[Tensor]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


# Faults.


def binary() -> dict[str, Any]:
    """Two classes in one column."""
    loss = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)
    column = dict(out_channels=1, threshold=0.3, loss_decode=loss)
    decode = head('FCNHead', 16, num_convs=1, num_classes=2, **column)
    return segmentor(8, decode)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    'student': (
        config(
            dict(cls=RCNN['cls']),
            teacher=teacher_of(
                rcnn(4), class_map=dict(student=OWN[:1], teacher=WIDE[:4])
            ),
        ),
        r'model\.pairs\.cls\.view: the head of the student knows 3 classes, and '
        r"the teacher's class_map\.student names 1: \['cat'\]",
    ),
    'teacher': (
        config(dict(reg=RCNN['reg']), teacher=teacher_of(rcnn(3), class_map=PART)),
        r'model\.pairs\.reg\.view: the head of the teacher knows 3 classes, and '
        r"the teacher's class_map\.teacher names 4",
    ),
    'dense': (
        config(
            dict(a=dict(view='head.logits', loss=dict(type='PixelWiseLoss'))),
            student=fcos(),
            teacher=teacher_of(fcos(), class_map=PART),
        ),
        r'the head of the teacher knows 3 classes, and .*class_map\.teacher names 4',
    ),
    'nothing shared': (
        config(
            dict(cls=RCNN['cls']),
            teacher=teacher_of(
                rcnn(2), class_map=ALL | dict(teacher=('a', 'b'), rename={})
            ),
        ),
        r"share no class\. The student has \['cat', 'dog', 'cow'\], the teacher "
        r"\['a', 'b'\]",
    ),
    'one class of pixels': (
        config(
            PIXELS,
            segmentor(),
            teacher_of(
                pspnet(3), class_map=dict(student=LAND, teacher=('sky', 'a', 'b'))
            ),
        ),
        r"only 'sky' is shared, and a softmax over one class is always 1\. Name more "
        r"in the teacher's class_map\.rename",
    ),
    'one column': (
        config(
            PIXELS,
            segmentor(),
            teacher_of(binary(), class_map=dict(student=LAND, teacher=('sky', 'sea'))),
        ),
        r"single column \(out_channels=1\) the teacher's class_map can choose no",
    ),
}


@pytest.mark.parametrize(('cfg', 'message'), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_mapped_names_the_key(cfg: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(cfg)


def test_without_a_map_the_message_proposes_one() -> None:
    with pytest.raises(ConfigError, match='name those of both in its class_map'):
        detector(RCNN, None, rcnn(4))
    with pytest.raises(ConfigError, match='name those of both in its class_map'):
        detector(PIXELS, None, pspnet(3), student=segmentor())
