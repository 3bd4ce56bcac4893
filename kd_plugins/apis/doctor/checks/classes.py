"""The classes of teacher and student: names, number, order."""

from collections.abc import Iterator, Sequence
from typing import Any

from ....teachers.class_map import read_class_map
from ..case import Case
from ..finding import FINE, NOTE, PROBLEM, Finding, NotChecked
from ..teachers import TeacherFacts

_SHOWN = 6


def check_classes(case: Case) -> Iterator[Finding | NotChecked]:
    """Whether each teacher's classes are those of the data, in the same order."""
    data = case.validation_images.classes
    for facts in case.teachers:
        subject = f'the class names of {facts.title.lower()}'
        if facts.entry.get('class_map') is not None:
            yield from _of_map(facts, data)
        elif data is None:
            yield NotChecked(subject, 'the data set has no class names')
        elif facts.classes is None:
            yield NotChecked(subject, 'its checkpoint does not tell them')
        else:
            yield _compared(case, facts, facts.classes, data)


def _compared(
    case: Case, facts: TeacherFacts, names: Sequence[str], data: Sequence[str]
) -> Finding:
    figures = {'teacher': len(names), 'student': len(data)}
    if list(names) == list(data):
        return Finding(
            FINE,
            f'{facts.title} knows the {len(data)} classes of the data, in the same '
            'order.',
            figures=figures,
        )
    remedy = (
        f'Set class_map=dict(student=..., teacher={_few(names)}) in {facts.key}: '
        'classes are then matched by name.'
    )
    if sorted(names) == sorted(data):
        first = next(
            index
            for index, (one, other) in enumerate(zip(names, data, strict=True))
            if one != other
        )
        return Finding(
            PROBLEM,
            f'{facts.title} knows the {len(data)} classes of the data in another '
            f"order: its number {first} is '{names[first]}', that of the data "
            f"'{data[first]}'. What it says of one class is taught as another.",
            remedy,
            figures,
        )
    shared = [name for name in data if name in names]
    by_class = _needs_same_classes(case, facts)
    return Finding(
        PROBLEM if by_class else NOTE,
        f'{facts.title} knows other classes than the data: {len(names)} against '
        f'{len(data)}, {len(shared)} of the same name'
        + (
            ', and a pair compares class by class.'
            if by_class
            else '; no pair compares class by class, so it may.'
        ),
        remedy if by_class else '',
        {**figures, 'shared': len(shared)},
    )


def _of_map(
    facts: TeacherFacts, data: Sequence[str] | None
) -> Iterator[Finding | NotChecked]:
    class_map = read_class_map(facts.entry['class_map'])
    for which, listed, known in (
        ('teacher', class_map.teacher, facts.classes),
        ('student', class_map.student, data),
    ):
        if known is not None and list(listed) != list(known):
            source = "the teacher's checkpoint" if which == 'teacher' else 'the data'
            yield Finding(
                PROBLEM,
                f'{facts.key}.class_map.{which} names {_few(listed)}, and {source} '
                f'{_few(known)}: classes are matched wrongly.',
                'List the classes there in the order of the head.',
                {'listed': len(listed), 'known': len(known)},
            )
    yield Finding(
        NOTE,
        f'{facts.title} knows other classes than the data, matched by name: '
        f'{class_map.describe()}. It teaches nothing about the others.',
        figures={'shared': len(class_map.shared)},
    )


def _needs_same_classes(case: Case, facts: TeacherFacts) -> bool:
    pairs: list[Any] = case.distiller.pairs
    return any(
        pair.views[facts.name].requires_same_classes
        for pair in pairs
        if facts.name in pair.views
    )


def _few(names: Sequence[str]) -> str:
    shown = ', '.join(f"'{name}'" for name in names[:_SHOWN])
    return f'({shown}{", ..." if len(names) > _SHOWN else ""})'
