"""The teacher's own score on the student's validation data."""

from collections.abc import Iterator

from ..case import Case
from ..finding import FINE, NOTE, PROBLEM, WARNING, Finding, NotChecked
from ..score import Score, score_of
from ..teachers import TeacherFacts

# How far a measured score may stay behind the recorded one, as a share of it: on all
# images of a validation, and on some or few of them.
_TOLERANCE = {True: 0.03, False: 0.1}
_ENOUGH = 200
_BROKEN = 0.2


def check_teacher_score(case: Case) -> Iterator[Finding | NotChecked]:
    """Whether each teacher is better than the student, and as good as recorded."""
    measured, images = case.validation, case.validation_images
    student = score_of(measured.student, case.kind)
    where = (
        f'all {images.total} validation images'
        if images.number == images.total
        else f'{images.number} of {images.total} validation images'
    )
    for facts in case.teachers:
        if facts.name not in measured.teachers:
            yield NotChecked(
                f'the score of {facts.title.lower()}',
                'it knows other classes than the data (class_map), which the metric '
                'does not',
            )
            continue
        teacher = score_of(measured.teachers[facts.name], case.kind)
        figures = {'teacher': teacher.value, 'student': student.value}
        both = f'it scores {teacher}, the student {student}, on {where}'
        if teacher.over(student) <= 0:
            yield Finding(
                PROBLEM,
                f'{facts.title} is not better than the student: {both}.',
                'Choose or train a better teacher; or, if it should be better, see '
                'below whether its checkpoint, classes and normalisation are right.',
                figures,
            )
        else:
            yield Finding(
                FINE,
                f'{facts.title} is better than the student: {both}.',
                figures=figures,
            )
        complete = images.number == images.total >= _ENOUGH
        yield from _beside_recorded(case, facts, teacher, complete)


def _beside_recorded(
    case: Case, facts: TeacherFacts, teacher: Score, complete: bool
) -> Iterator[Finding]:
    claimed = facts.claimed_score(case.kind)
    if claimed is None:
        yield Finding(
            NOTE,
            f'{facts.title} scores {teacher} here; neither its checkpoint nor its '
            'config records a score to compare it with.',
            figures={'teacher': teacher.value},
        )
        return
    score, source = claimed
    figures = {'teacher': teacher.value, 'recorded': score.value}
    behind = score.over(teacher) / abs(score.value) if score.value else 0.0
    if behind <= _TOLERANCE[complete]:
        yield Finding(
            FINE,
            f'{facts.title} scores what is recorded of it: {teacher} here; {source} '
            f'{score}.',
            figures=figures,
        )
        return
    yield Finding(
        PROBLEM if behind > _BROKEN else WARNING,
        f'{facts.title} scores {teacher} here, and {source} {score}: '
        f'{100 * behind:.0f} % less.'
        if not case.kind.lower_is_better
        else f'{facts.title} scores {teacher} here, and {source} {score}: an error '
        f'{-100 * behind:.0f} % larger.',
        'If that was on the same data, it is loaded or fed otherwise than it was '
        'trained: compare image size (input_scale), normalisation and classes, and '
        f'test it alone: python tools/test.py {facts.entry.get("cfg", "CONFIG")} '
        f'{facts.entry.get("checkpoint")}.',
        figures,
    )
