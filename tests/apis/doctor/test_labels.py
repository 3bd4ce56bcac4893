"""A student short of labels is told from one short of capacity or time."""

from kd_plugins.apis.doctor.case import RunLog
from kd_plugins.apis.doctor.checks.labels import check_labels

from .made import MAP, case, evaluation, results, unchecked


def log(*scores: float, key: str = MAP) -> RunLog:
    return RunLog(100, 0.1, tuple({key: score} for score in scores))


def test_a_gap_is_one_of_labels() -> None:
    of = case(training=evaluation(0.9), log=log(0.39, 0.392))
    (finding,) = results(check_labels, of)
    assert finding.severity == 'note'
    assert '90.0 mAP on training images and 40.0 mAP' in finding.sentence
    assert 'short of more of them' in finding.sentence
    assert 'without labels' in finding.remedy


def test_without_a_gap_it_is_capacity_or_time() -> None:
    of = case(training=evaluation(0.41), log=log(0.4))
    (finding,) = results(check_labels, of)
    assert finding.severity == 'warning'
    assert 'capacity or of time' in finding.sentence


def test_a_student_far_below_its_teacher_on_its_own_images_does_not_fit_them() -> None:
    of = case(
        validation=evaluation(0.002),
        training=evaluation(0.004, 0.9),
        log=log(0.002),
    )
    (finding,) = results(check_labels, of)
    assert finding.severity == 'warning'
    assert 'does not fit its labels yet' in finding.sentence
    unmatched = case(training=evaluation(0.9, None), log=log(0.4))  # with a class_map
    assert 'short of more of them' in results(check_labels, unmatched)[0].sentence


def test_of_an_error_too() -> None:
    of = case(
        validation=evaluation(2.0, key='rmse'),
        training=evaluation(1.0, 1.2, key='rmse'),
        log=log(2.5, 2.0, key='rmse'),
    )
    first, second = results(check_labels, of)
    assert 'short of more of them' in first.sentence
    assert 'still improved at the end of the run: 2.500 RMSE, then 2.000' in (
        second.sentence
    )


def test_a_score_that_still_rises_is_told_and_one_that_does_not_is_not() -> None:
    for scores, number in (((0.30, 0.40), 2), ((0.40, 0.40), 1), ((0.4, 0.3), 1)):
        of = case(training=evaluation(0.9), log=log(*scores))
        assert len(results(check_labels, of)) == number


def test_without_a_log_the_rest_is_told() -> None:
    (item,) = unchecked(check_labels, case())
    assert item.reason == 'there is no run folder'
