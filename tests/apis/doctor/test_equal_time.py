"""The price of a distillation in steps of the student alone."""

import pytest

from kd_plugins.apis.doctor.case import RunLog
from kd_plugins.apis.doctor.checks.equal_time import check_equal_time
from kd_plugins.apis.doctor.finding import NotCheckedError
from kd_plugins.apis.doctor.trial import Trial
from kd_plugins.apis.price import Price

from .made import case, results

WHOLE = dict(
    train_cfg=dict(max_iters=1000, val_interval=500),
    param_scheduler=[dict(type='MultiStepLR', end=1000, milestones=[600, 900])],
)


def trial(distilled: float) -> Trial:
    seconds = dict(student=[0.1, 0.1], distilled=[distilled, distilled])
    return Trial(None, 4, Price(seconds, 2, 0, 0, 0, {}))  # type: ignore[arg-type]


def test_a_dear_step_is_a_warning_with_the_command_to_run() -> None:
    log = RunLog(1000, 0.6, ())
    of = case(whole=WHOLE, trial=trial(0.19), log=log)
    (finding,) = results(check_equal_time, of)
    assert finding.severity == 'warning'
    assert 'takes 1.90 times that of the student alone' in finding.sentence
    assert 'of its 1,000 iterations (10 minutes by the log) it would train 1,900' in (
        finding.sentence
    )
    for option in (
        'train_cfg.max_iters=1900',
        'param_scheduler.0.end=1900',
        'param_scheduler.0.milestones="[1140, 1710]"',
    ):
        assert option in finding.remedy


def test_a_cheap_one_is_not() -> None:
    (finding,) = results(check_equal_time, case(whole=WHOLE, trial=trial(0.11)))
    assert finding.severity == 'note'
    assert 'by the log' not in finding.sentence


def test_minutes_of_another_length_are_not_told() -> None:
    log = RunLog(60, 0.6, ())
    (finding,) = results(
        check_equal_time, case(whole=WHOLE, trial=trial(0.19), log=log)
    )
    assert 'by the log' not in finding.sentence


def test_what_was_not_measured_says_why() -> None:
    unmeasured = Trial(None, 4, None, 'the model is sharded')  # type: ignore[arg-type]
    with pytest.raises(NotCheckedError, match='the model is sharded'):
        list(check_equal_time(case(whole=WHOLE, trial=unmeasured)))
