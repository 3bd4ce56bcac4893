"""The checks, in the order of their importance.

Another one: a function from a :class:`~kd_plugins.apis.doctor.case.Case` to findings in
a module of this folder, and a line in ``CHECKS``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..case import Case
from ..finding import Finding, NotChecked
from .agreement import check_agreement
from .classes import check_classes
from .equal_time import check_equal_time
from .gap import check_gap
from .gradients import check_gradients
from .labels import check_labels
from .normalisation import check_normalisation
from .run_config import check_run_config
from .soft_targets import check_soft_targets
from .teacher_score import check_teacher_score


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: in tables.
        subject: what it looks at, as in 'the shares of gradients'.
        function: gives its findings.
    """

    name: str
    subject: str
    function: Callable[[Case], Iterator[Finding | NotChecked]]


CHECKS = (
    Check('teacher', "the teacher's score", check_teacher_score),
    Check('classes', "the teacher's classes", check_classes),
    Check('normalisation', "the teacher's normalisation", check_normalisation),
    Check('config', 'the config of the training', check_run_config),
    Check('gradients', 'the shares of gradients', check_gradients),
    Check('soft targets', "the teacher's own training", check_soft_targets),
    Check('gap', 'the gap between the two', check_gap),
    Check('labels', 'whether the student fits its labels', check_labels),
    Check('agreement', 'agreement and calibration', check_agreement),
    Check('equal time', 'the student alone for the same time', check_equal_time),
)
