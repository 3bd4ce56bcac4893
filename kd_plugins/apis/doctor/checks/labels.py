"""Whether the student is short of labels, or of capacity and time."""

from collections.abc import Iterator

from ..case import Case
from ..finding import NOTE, WARNING, Finding, NotChecked, NotCheckedError
from ..score import Kind, Score, score_of

GAP = 0.15  # of the better score
_FAR = 0.5  # of the teacher's
_IMPROVING = 0.02


def check_labels(case: Case) -> Iterator[Finding | NotChecked]:
    """The student's score on training images beside that on validation images."""
    kind = case.kind
    fitted = score_of(case.training.student, kind)
    new = score_of(case.validation.student, kind)
    gap = _relative(fitted, new)
    figures = {'training': fitted.value, 'validation': new.value}
    both = (
        f'The student scores {fitted} on training images and {new} on validation images'
    )
    teacher = _best_teacher(case, kind)
    if teacher is not None and _relative(teacher, fitted) > _FAR:
        yield Finding(
            WARNING,
            f'{both}, its teacher {teacher} on training images: it does not fit its '
            'labels yet. It is short of time, or of capacity.',
            'Train longer; raise the learning rate or lower the weights of the pairs; '
            'or take a larger student.',
            {**figures, 'teacher': teacher.value},
        )
    elif gap > GAP:
        yield Finding(
            NOTE,
            f'{both}: it fits its labels, and is short of more of them.',
            'Distil on images without labels too; augment more.',
            figures,
        )
    else:
        yield Finding(
            WARNING,
            f'{both}: it is not short of labels, but of capacity or of time.',
            'Train the student alone for longer, and compare; or take a larger one.',
            figures,
        )
    try:
        yield from _still_improving(case, kind)
    except NotCheckedError as error:
        yield NotChecked("whether the student's score still improved", str(error))


def _relative(better: Score, worse: Score) -> float:
    """How far a score is above another, as a share of the larger number."""
    return better.over(worse) / max(abs(better.value), abs(worse.value), 1e-12)


def _best_teacher(case: Case, kind: Kind) -> Score | None:
    scores = [score_of(item, kind) for item in case.training.teachers.values()]
    return max(scores, key=lambda score: score.over(scores[0])) if scores else None


def _still_improving(case: Case, kind: Kind) -> Iterator[Finding]:
    scores = [
        Score(kind.factor * float(line[kind.key]), kind)
        for line in case.log.validations
        if kind.key in line
    ]
    if len(scores) < 2:
        return
    before, last = scores[-2:]
    rise = last.over(before)
    if rise > _IMPROVING * abs(before.value):
        yield Finding(
            WARNING,
            f'The score still improved at the end of the run: {before}, then {last} at '
            'the last validation.',
            'Train longer.',
            {'before': before.value, 'last': last.value},
        )
