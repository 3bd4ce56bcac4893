"""Classes of teacher and student matched by name, where their label sets differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from mmengine.registry import DATASETS
from torch import Tensor

from ..errors import ConfigError, nearest

_KEYS = ('student', 'teacher', 'rename')


@dataclass(frozen=True)
class ClassMap:
    """The classes that two models share, in the student's order.

    Attributes:
        student: names of all the student's classes, in the order of its columns.
        teacher: likewise, as the teacher itself calls them.
        student_columns: columns of the shared classes in the student's logits.
        teacher_columns: columns of the same classes in the teacher's.
        where: configuration key, for messages.
    """

    student: tuple[str, ...]
    teacher: tuple[str, ...]
    student_columns: tuple[int, ...]
    teacher_columns: tuple[int, ...]
    where: str

    @property
    def shared(self) -> tuple[str, ...]:
        """Names of the shared classes, as the student calls them."""
        return tuple(self.student[column] for column in self.student_columns)

    @property
    def copyable(self) -> bool:
        """Whether no weights of a class have the shape of another class's place."""
        every = tuple(range(len(self.student)))
        return len(self.teacher) != len(every) or (
            self.student_columns == self.teacher_columns == every
        )

    def check_numbers(self, student: int, teacher: int, where: str) -> None:
        """Refuse heads of other numbers of classes than were named.

        Args:
            student: classes that the student's head knows.
            teacher: likewise.
            where: configuration key of the pair, for messages.

        Raises: ConfigError naming the list to change.
        """
        for which, number, names in (
            ('student', student, self.student),
            ('teacher', teacher, self.teacher),
        ):
            if number != len(names):
                raise ConfigError(
                    f'{where}: the head of the {which} knows {number} classes, and '
                    f'{self.where}.{which} names {len(names)}: {list(names)}. Name '
                    'each class of the head there, in the order of its columns.'
                )

    def of_student(self, logits: Tensor, *, background: bool = False) -> Tensor:
        """The student's columns, dimension 1, of the shared classes alone.

        A softmax over them is one over all columns, renormalised.

        Args:
            logits: (R, K), (N, K, H, W), or with one column more.
            background: whether there is this one, the last; it is kept, and stays last.
        """
        return _columns(logits, self.student_columns, len(self.student), background)

    def of_teacher(self, logits: Tensor, *, background: bool = False) -> Tensor:
        """As :meth:`of_student`, in the same order, of the teacher's columns."""
        return _columns(logits, self.teacher_columns, len(self.teacher), background)

    def of(self, which: str, logits: Tensor) -> Tensor:
        """Those of the shared classes, of the 'student' or the 'teacher'."""
        own = which == 'student'
        return self.of_student(logits) if own else self.of_teacher(logits)

    def shared_labels(
        self, labels: Tensor, *, background: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The student's labels as numbers of shared classes.

        Args:
            labels: of any shape.
            background: whether there is one beyond the last class; it stays the last.

        Returns: the numbers, 0 for a class that is not shared; and a mask, bool, of
            those that are.
        """
        numbers = [-1] * len(self.student)
        for number, column in enumerate(self.student_columns):
            numbers[column] = number
        if background:
            numbers.append(len(self.student_columns))
        return _look_up(numbers, labels)

    def shared_labels_of_teacher(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`shared_labels`, of labels that the teacher predicts."""
        numbers = [-1] * len(self.teacher)
        for number, column in enumerate(self.teacher_columns):
            numbers[column] = number
        return _look_up(numbers, labels)

    def teacher_labels(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The student's labels as the teacher's; returns as :meth:`shared_labels`."""
        numbers = [-1] * len(self.student)
        for own, other in zip(self.student_columns, self.teacher_columns, strict=True):
            numbers[own] = other
        return _look_up(numbers, labels)

    def describe(self) -> str:
        """How many classes are shared, and which are not."""
        alone = [
            f'{which} alone: {", ".join(names)}'
            for which, names in (
                ('student', _left_out(self.student, self.student_columns)),
                ('teacher', _left_out(self.teacher, self.teacher_columns)),
            )
            if names
        ]
        return '; '.join([f'{len(self.shared)} shared classes', *alone])


def read_class_map(cfg: Any, where: str) -> ClassMap:
    """A class map from its configuration.

    Args:
        cfg: ``student`` and ``teacher``, the names of all classes of either, or a
            registered dataset that has them in its ``METAINFO``, such as
            'mmdet.CocoDataset'; and ``rename``, where wanted: what the student calls
            classes of the teacher, by the teacher's name.
        where: configuration key, for messages.

    Raises: ConfigError for what is no such thing; with both lists, where no class is
        shared.

    Example:
        >>> pets = read_class_map(
        ...     dict(
        ...         student=['cat', 'dog'],
        ...         teacher=['hound', 'cow', 'cat'],
        ...         rename={'hound': 'dog'},
        ...     ),
        ...     'class_map',
        ... )
        >>> pets.shared, pets.student_columns, pets.teacher_columns
        (('cat', 'dog'), (0, 1), (2, 0))
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(
            f'{where} must be dict(student=(...), teacher=(...)), the class names of '
            f'either, got {cfg!r}.'
        )
    unknown = [key for key in cfg if key not in _KEYS]
    if unknown:
        raise ConfigError(
            f"{where}: no key '{unknown[0]}'. {nearest(str(unknown[0]), _KEYS)}"
        )
    student, teacher = (
        _names(cfg.get(which), f'{where}.{which}') for which in ('student', 'teacher')
    )
    renamed = _renamed(cfg.get('rename') or {}, student, teacher, f'{where}.rename')
    shared = [name for name in student if name in renamed]
    if not shared:
        raise ConfigError(
            f'{where}: student and teacher share no class. The student has '
            f'{list(student)}, the teacher {list(teacher)}. Say which are the same: '
            f"{where}.rename={{'<of the teacher>': '<of the student>'}}."
        )
    return ClassMap(
        student,
        teacher,
        tuple(student.index(name) for name in shared),
        tuple(renamed.index(name) for name in shared),
        where,
    )


def _renamed(
    rename: Any, student: Sequence[str], teacher: Sequence[str], where: str
) -> list[str]:
    """The teacher's names as the student says them."""
    if not isinstance(rename, Mapping):
        raise ConfigError(
            f"{where} must be a dict {{'<of the teacher>': '<of the student>'}}, got "
            f'{rename!r}.'
        )
    for which, asked, names in (
        ('teacher', rename.keys(), teacher),
        ('student', rename.values(), student),
    ):
        for name in asked:
            if name not in names:
                raise ConfigError(
                    f"{where}: the {which} has no class '{name}'. "
                    f'{nearest(str(name), names)}'
                )
    renamed = [rename.get(name, name) for name in teacher]
    for name in student:
        if renamed.count(name) > 1:
            same = [
                own for own, new in zip(teacher, renamed, strict=True) if new == name
            ]
            raise ConfigError(
                f"{where}: the teacher's classes {same} would all be '{name}' of the "
                'student. Rename one of them only.'
            )
    return renamed


def _names(given: Any, where: str) -> tuple[str, ...]:
    """Class names, listed or of a registered dataset."""
    names = _names_of_dataset(given, where) if isinstance(given, str) else given
    if (
        not isinstance(names, Sequence)
        or not names
        or not all(isinstance(name, str) for name in names)
    ):
        raise ConfigError(
            f'{where} must list the names of all classes, or name a registered dataset '
            f"such as 'mmdet.CocoDataset', got {given!r}."
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{where} names '{twice[0]}' twice.")
    return tuple(names)


def _names_of_dataset(kind: str, where: str) -> Any:
    try:
        dataset = DATASETS.get(kind)
    except RuntimeError:  # how mmengine says that it knows no such name
        dataset = None
    if dataset is None:
        raise ConfigError(
            f"{where}: no registered dataset '{kind}'. Give it with its scope, such as "
            "'mmdet.CocoDataset', or list the names: ('cat', 'dog')."
        )
    names = (getattr(dataset, 'METAINFO', None) or {}).get('classes')
    if isinstance(names, str) or not names:
        raise ConfigError(
            f"{where}: dataset '{kind}' has no list of classes in its METAINFO. List "
            "the names: ('cat', 'dog')."
        )
    return names


def _left_out(names: Sequence[str], columns: Sequence[int]) -> list[str]:
    return [name for column, name in enumerate(names) if column not in columns]


def _columns(
    logits: Tensor, columns: tuple[int, ...], classes: int, background: bool
) -> Tensor:
    if background:
        columns = (*columns, classes)
    return logits.index_select(1, _numbers(columns, logits.device))


def _look_up(numbers: Sequence[int], labels: Tensor) -> tuple[Tensor, Tensor]:
    found = _numbers(tuple(numbers), labels.device)[labels]
    return found.clamp(min=0), found >= 0


@lru_cache(maxsize=64)  # a copy to the device at every step would wait for it
def _numbers(values: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)
