"""Classes of teacher and student are matched by name, and faults named before."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.teachers import Teacher, build_teachers
from kd_plugins.teachers.class_map import read_class_map
from tests.distillers.tiny import config, distiller, faster_rcnn, hint, losses_of

CPU = torch.device('cpu')
STUDENT, TEACHER = ('cat', 'dog', 'cow'), ('bird', 'kine', 'cat', 'horse')
LOGITS: dict[str, Any] = dict(view='roi.logits', loss=dict(type='KDLoss'))


def pets(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = dict(
        student=STUDENT, teacher=TEACHER, rename={'kine': 'cow'}
    )
    return {**known, **changes}


def test_shared_classes_are_in_the_students_order() -> None:
    found = read_class_map(pets())
    assert found.shared == ('cat', 'cow')
    assert (found.student_columns, found.teacher_columns) == ((0, 2), (2, 1))
    assert found.describe() == (
        '2 shared classes; student alone: dog; teacher alone: bird, horse'
    )
    assert read_class_map(ConfigDict(pets())) == found  # as the runner hands it
    same = read_class_map(pets(teacher=list(STUDENT), rename=None))
    assert same.student_columns == same.teacher_columns == (0, 1, 2)
    assert same.describe() == '3 shared classes'


def test_names_may_be_swapped() -> None:
    swap = {'cat': 'dog', 'dog': 'cat'}
    found = read_class_map(pets(teacher=('cat', 'dog'), rename=swap))
    assert (found.student_columns, found.teacher_columns) == ((0, 1), (1, 0))


def test_a_name_that_was_given_away_is_shared_no_more() -> None:
    found = read_class_map(pets(teacher=('cat', 'bird'), rename={'cat': 'dog'}))
    assert found.shared == ('dog',)


@pytest.mark.host
def test_names_of_registered_datasets() -> None:
    names = dict(student='mmdet.VOCDataset', teacher='mmdet.CocoDataset')
    rename = dict(
        motorcycle='motorbike',
        airplane='aeroplane',
        couch='sofa',
        tv='tvmonitor',
        **{'potted plant': 'pottedplant', 'dining table': 'diningtable'},
    )
    found = read_class_map(dict(names, rename=rename))
    assert len(found.teacher) == 80 and found.shared == found.student
    assert found.student[0] == 'aeroplane' and found.teacher_columns[0] == 4
    plain = read_class_map(names)
    assert set(found.shared) - set(plain.shared) == set(rename.values())
    roads = read_class_map(
        dict(student=('car', 'road'), teacher='mmseg.CityscapesDataset')
    )
    assert roads.teacher_columns == (13, 0)


def test_columns_and_labels() -> None:
    found = read_class_map(pets())
    logits = torch.arange(8.0).view(2, 4).requires_grad_()
    own = found.of_student(logits, background=True)
    assert own.tolist() == [[0, 2, 3], [4, 6, 7]]
    assert found.of_teacher(torch.arange(5.0)[None], background=True).tolist() == [
        [2, 1, 4]
    ]
    labels, known = found.shared_labels_of_teacher(torch.tensor([2, 0, 1, 3]))
    assert known.tolist() == [True, False, True, False]
    assert labels[known].tolist() == [0, 1]
    maps = torch.arange(3.0).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    assert found.of_student(maps)[1, :, 2, 3].tolist() == [0, 2]
    own.sum().backward()  # what is not shared learns nothing
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1, 0, 1, 1], [1, 0, 1, 1]]
    labels = torch.tensor([[3, 2], [1, 0]])
    numbers, known = found.shared_labels(labels, background=True)
    assert numbers.tolist() == [[2, 1], [0, 0]]
    assert known.tolist() == [[True, True], [False, True]]
    numbers, known = found.teacher_labels(torch.tensor([0, 1, 2]))
    assert numbers.tolist() == [2, 0, 1] and known.tolist() == [True, False, True]


def test_softmax_over_the_shared_columns_is_renormalised() -> None:
    found = read_class_map(pets())
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    probs = logits.softmax(dim=1)[:, [2, 1, 4]]
    expected = probs / probs.sum(dim=1, keepdim=True)
    reduced = found.of_teacher(logits, background=True)
    torch.testing.assert_close(reduced.softmax(dim=1), expected)


BAD: dict[str, tuple[Any, str]] = {
    'nothing shared': (
        pets(rename={}, student=('dog', 'cow')),
        r'class_map: student and teacher share no class\. The student '
        r"has \['dog', 'cow'\], the teacher \['bird', 'kine', 'cat', 'horse'\]\. .*"
        r'in class_map: rename=',
    ),
    'no dict': ('mmdet.CocoDataset', r'class_map: must be dict\(student=.*got .mmdet'),
    'key': (pets(renames={}), r"class_map: no key 'renames'\. Close: 'rename'"),
    'missing': (
        dict(student=STUDENT),
        r'class_map\.teacher: must list the names of all classes.*got None',
    ),
    'empty': (pets(student=()), r'class_map\.student: must list the names.*got \(\)'),
    'numbers': (pets(student=(1, 2)), r'class_map\.student: must list.*got \(1, 2\)'),
    'twice': (pets(student=('a', 'b', 'a')), r"class_map\.student: names 'a' twice"),
    'dataset': (
        pets(teacher='CocoDatset'),
        r"class_map\.teacher: no registered dataset 'CocoDatset'\. Give it with its "
        r"scope, such as 'mmdet\.CocoDataset'",
    ),
    'no classes': (
        pets(teacher='mmdet.BaseDetDataset'),
        r"class_map\.teacher: dataset 'mmdet\.BaseDetDataset' has no list of classes",
    ),
    'rename': (pets(rename=['kine']), r"class_map\.rename: must be a dict.*\['kine'\]"),
    'rename of none': (
        pets(rename={'kin': 'cow'}),
        r"class_map\.rename: the teacher has no class 'kin'\. Close: 'kine'",
    ),
    'rename to none': (
        pets(rename={'kine': 'cows'}),
        r"class_map\.rename: the student has no class 'cows'\. Close: 'cow'",
    ),
    'two of one': (
        pets(rename={'bird': 'cat'}),
        r"classes \['bird', 'cat'\] would all be 'cat' of the student",
    ),
}


@pytest.mark.parametrize(('cfg', 'message'), BAD.values(), ids=BAD)
def test_a_bad_map_names_the_key(cfg: Any, message: str) -> None:
    entry = dict(model=dict(type='X'), allow_random=True, class_map=cfg)
    with pytest.raises(ConfigError, match=message):
        build_teachers(entry, None)


def teacher_of(path: Path, *classes: str, **changes: Any) -> dict[str, Any]:
    """A teacher of four classes, whose checkpoint says which."""
    model = faster_rcnn(roi_head__bbox_head=dict(num_classes=4))
    meta = dict(dataset_meta=dict(classes=classes))
    torch.save(dict(meta=meta, state_dict=MODELS.build(model).state_dict()), path)
    return dict(model=model, checkpoint=str(path), class_map=pets(**changes))


def test_the_checkpoint_is_compared_with_the_maps_own_names(tmp_path: Path) -> None:
    good = teacher_of(tmp_path / 'good.pth', *TEACHER)
    model = distiller(dict(pair=LOGITS), teacher=good)
    model.set_class_names(list(STUDENT))
    assert losses_of(model)['loss_kd_pair'] > 0
    model.set_class_names(list(STUDENT))  # once it is loaded too
    other = teacher_of(tmp_path / 'other.pth', *reversed(TEACHER))
    model = distiller(dict(pair=LOGITS), teacher=other)
    message = r"\['horse', 'cat', 'kine', 'bird'\], expected \['bird', 'kine', 'cat'"
    with pytest.raises(CheckpointError, match=message):
        losses_of(model)


def test_the_data_are_compared_with_the_students_names(tmp_path: Path) -> None:
    teacher = teacher_of(tmp_path / 'teacher.pth', *TEACHER)
    model = distiller(dict(pair=LOGITS), teacher=teacher)
    message = (
        r'model\.teacher\.class_map\.student: must be the classes of the data, in the '
        r"same order: \['dog', 'cat', 'cow'\], got \['cat', 'dog', 'cow'\]"
    )
    with pytest.raises(ConfigError, match=message):
        model.set_class_names(['dog', 'cat', 'cow'])
    # Features match whatever the classes are called.
    distiller(dict(hint=hint()), teacher=teacher).set_class_names(['a', 'b', 'c'])


def test_the_plan_tells_what_is_shared(tmp_path: Path) -> None:
    teacher = teacher_of(tmp_path / 'teacher.pth', *TEACHER)
    plan = MODELS.build(config(dict(pair=LOGITS), teacher=teacher)).summary()
    assert 'student alone: dog; teacher alone: bird, horse' in plan
    assert 'Rx3' in plan


def test_none_removes_an_inherited_map() -> None:
    entry = dict(model=faster_rcnn(), allow_random=True, class_map=None)
    assert Teacher('teacher', entry).class_map is None
