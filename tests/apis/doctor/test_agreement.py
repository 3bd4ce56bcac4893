"""A student that is its teacher, or never learned from it, is found."""

import pytest

from kd_plugins.apis.doctor.checks.agreement import check_agreement, following
from kd_plugins.apis.doctor.finding import NotCheckedError

from .made import case, evaluation, results, unchecked


def pixels(agreement: float, teacher: float = 0.05) -> dict[str, float]:
    return dict(agreement=agreement, kl=0.1, ece_student=0.04, ece_teacher=teacher)


def of(taught: float, new: float, **options: float):
    return case(
        validation=evaluation(fidelity=pixels(new, **options)),
        training=evaluation(0.6, 0.65, fidelity=pixels(taught)),
    )


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    first, *_ = results(check_agreement, of(1.0, 1.0))
    assert first.severity == 'problem'
    assert '100 % on training images, 100 % on validation images' in first.sentence
    assert 'nothing is left to learn' in first.sentence


def test_one_that_does_not_follow_where_it_was_taught() -> None:
    first, *_ = results(check_agreement, of(0.3, 0.3))
    assert first.severity == 'warning'
    assert 'did not learn what it was shown' in first.sentence


def test_one_that_follows_there_only() -> None:
    first, *_ = results(check_agreement, of(0.9, 0.6))
    assert (first.severity, 'less on new images' in first.sentence) == ('note', True)


def test_a_healthy_one_is_known_without_a_remedy() -> None:
    for finding in results(check_agreement, of(0.8, 0.7)):
        assert (finding.severity, finding.remedy) == ('note', '')


def test_a_teacher_whose_scores_say_little() -> None:
    _, second, *_ = results(check_agreement, of(0.8, 0.7, teacher=0.4))
    assert second.severity == 'warning'
    assert 'of the teacher 0.050 on training and 0.400' in second.sentence.replace(
        ' images', ''
    )
    assert 'temperature' in second.remedy


def test_a_teacher_that_knows_the_images_by_heart() -> None:
    known = case(
        validation=evaluation(0.4, 0.5, pixels(0.7)),
        training=evaluation(0.7, 0.99, pixels(0.8)),
    )
    last = results(check_agreement, known)[-1]
    assert 'scores 99.0 mAP on the training images and 50.0 mAP' in last.sentence
    assert 'without labels' in last.remedy


def test_boxes_that_are_not_found_count() -> None:
    boxes = pixels(1.0) | dict(recall=0.5, precision=1.0)
    assert following(boxes) == pytest.approx(0.5)
    first, *_ = results(
        check_agreement,
        case(
            validation=evaluation(fidelity=boxes),
            training=evaluation(0.6, 0.65, fidelity=boxes),
        ),
    )
    assert 'Of the objects of the teacher the student finds' in first.sentence


def test_what_cannot_be_compared_says_why() -> None:
    (item,) = unchecked(check_agreement, case())
    assert item.reason == 'they are depth maps'
    without = case(
        validation=evaluation(fidelity=pixels(0.7)), training=NotCheckedError('none')
    )
    (item,) = unchecked(check_agreement, without)
    assert (item.subject, item.reason) == ('agreement on training images', 'none')
    first, *_ = results(check_agreement, without)
    assert 'to 70 % on validation images' in first.sentence
