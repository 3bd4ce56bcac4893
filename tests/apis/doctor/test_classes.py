"""Classes in another order, or other ones, are found."""

from pathlib import Path

import pytest

from kd_plugins.apis.doctor.checks.classes import check_classes
from kd_plugins.distillers import Distiller
from kd_plugins.registry import MODELS
from tests.distillers.tiny import config, hint

from .made import CLASSES, case, images, model, results, save_teacher, unchecked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'teacher.pth'


def built(pairs: dict) -> Distiller:
    distiller: Distiller = MODELS.build(config(pairs))
    return distiller


def test_permuted_names_are_a_problem_with_a_map_as_remedy(path: Path) -> None:
    checkpoint = save_teacher(path, classes=('b', 'a', 'c'))
    (finding,) = results(check_classes, case(model(checkpoint=checkpoint)))
    assert finding.severity == 'problem'
    assert "its number 0 is 'b', that of the data 'a'" in finding.sentence
    assert "class_map=dict(student=..., teacher=('b', 'a', 'c'))" in finding.remedy


def test_the_same_names_are_fine(path: Path) -> None:
    checkpoint = save_teacher(path, classes=CLASSES)
    (finding,) = results(check_classes, case(model(checkpoint=checkpoint)))
    assert finding.severity == 'fine'


def test_other_names_matter_where_classes_are_compared(path: Path) -> None:
    checkpoint = save_teacher(path, classes=('a', 'x', 'y', 'z'))
    of = model(checkpoint=checkpoint)
    by_class = case(of, distiller=built(of['pairs']))
    (finding,) = results(check_classes, by_class)
    assert finding.severity == 'problem'
    assert '4 against 3, 1 of the same name, and a pair compares' in finding.sentence
    of = config({'hint': hint()}, teacher=of['teacher'])
    (finding,) = results(check_classes, case(of, distiller=built(of['pairs'])))
    assert (finding.severity, finding.remedy) == ('note', '')


def test_a_map_is_described_and_compared_with_both(path: Path) -> None:
    checkpoint = save_teacher(path, classes=('x', 'a', 'b'))
    right = dict(student=CLASSES, teacher=('x', 'a', 'b'))
    (finding,) = results(
        check_classes, case(model(checkpoint=checkpoint, class_map=right))
    )
    assert finding.severity == 'note'
    assert '2 shared classes; student alone: c; teacher alone: x' in finding.sentence
    wrong = dict(student=CLASSES, teacher=('a', 'b', 'x'))
    first, _ = results(
        check_classes, case(model(checkpoint=checkpoint, class_map=wrong))
    )
    assert first.severity == 'problem'
    assert (
        "class_map.teacher names ('a', 'b', 'x'), and the teacher's" in first.sentence
    )


def test_what_is_not_told_is_not_checked(path: Path) -> None:
    checkpoint = save_teacher(path)
    (item,) = unchecked(check_classes, case(model(checkpoint=checkpoint)))
    assert item.reason == 'its checkpoint does not tell them'
    of = case(model(), validation_images=images(classes=None))
    (item,) = unchecked(check_classes, of)
    assert item.reason == 'the data set has no class names'
