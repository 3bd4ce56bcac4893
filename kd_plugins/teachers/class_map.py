"""Classes of teacher and student matched by name, where their label sets differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from mmengine.registry import DATASETS
from torch import Tensor

from ..errors import ConfigError, located, nearest

_KEYS = ('student', 'teacher', 'rename')


@dataclass(frozen=True)
class ClassMap:
    """The classes that two models share, in the student's order.

    Attributes:
        student: names of all the student's classes, in the order of its columns.
        teacher: likewise, as the teacher itself calls them.
        student_columns: columns of the shared classes in the student's logits.
        teacher_columns: columns of the same classes in the teacher's.
    """

    student: tuple[str, ...]
    teacher: tuple[str, ...]
    student_columns: tuple[int, ...]
    teacher_columns: tuple[int, ...]

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

    def check_numbers(self, student: int, teacher: int) -> None:
        """Refuse heads of other numbers of classes than were named.

        Args:
            student: classes that the student's head knows.
            teacher: likewise.

        Raises: ConfigError naming the list to change.
        """
        for which, number, names in (
            ('student', student, self.student),
            ('teacher', teacher, self.teacher),
        ):
            if number != len(names):
                raise ConfigError(
                    f'the head of the {which} knows {number} classes, and the '
                    f"teacher's class_map.{which} names {len(names)}: {list(names)}. "
                    'Name each class of the head there, in the order of its columns.'
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
        if which == 'student':
            return self.of_student(logits)
        return self.of_teacher(logits)

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
        for student_column, teacher_column in zip(
            self.student_columns, self.teacher_columns, strict=True
        ):
            numbers[student_column] = teacher_column
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


def read_class_map(cfg: object) -> ClassMap:
    """A class map from its configuration.

    Args:
        cfg: ``student`` and ``teacher``, the names of all classes of either, or a
            registered dataset that has them in its ``METAINFO``, such as
            'mmdet.CocoDataset'; and ``rename``, where wanted: what the student calls
            classes of the teacher, by the teacher's name.

    Raises: ConfigError for what is no such thing; with both lists, where no class is
        shared.

    Example:
        >>> pets = read_class_map(
        ...     dict(
        ...         student=['cat', 'dog'],
        ...         teacher=['hound', 'cow', 'cat'],
        ...         rename={'hound': 'dog'},
        ...     )
        ... )
        >>> pets.shared, pets.student_columns, pets.teacher_columns
        (('cat', 'dog'), (0, 1), (2, 0))
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(
            'must be dict(student=(...), teacher=(...)), the class names of either, '
            f'got {cfg!r}.'
        )
    unknown = [key for key in cfg if key not in _KEYS]
    if unknown:
        raise ConfigError(f"no key '{unknown[0]}'. {nearest(str(unknown[0]), _KEYS)}")
    with located('student'):
        student = _names(cfg.get('student'))
    with located('teacher'):
        teacher = _names(cfg.get('teacher'))
    with located('rename'):
        renamed = _renamed(cfg.get('rename') or {}, student, teacher)
    shared = [name for name in student if name in renamed]
    if not shared:
        raise ConfigError(
            f'student and teacher share no class. The student has {list(student)}, the '
            f'teacher {list(teacher)}. Say which are the same, in class_map: '
            "rename={'<of the teacher>': '<of the student>'}."
        )
    return ClassMap(
        student,
        teacher,
        tuple(student.index(name) for name in shared),
        tuple(renamed.index(name) for name in shared),
    )


def _renamed(
    rename: object, student: Sequence[str], teacher: Sequence[str]
) -> list[str]:
    """The teacher's names as the student says them."""
    if not isinstance(rename, Mapping):
        raise ConfigError(
            "must be a dict {'<of the teacher>': '<of the student>'}, got "
            f'{rename!r}.'
        )
    for which, renamed_names, names in (
        ('teacher', rename.keys(), teacher),
        ('student', rename.values(), student),
    ):
        for name in renamed_names:
            if name not in names:
                raise ConfigError(
                    f"the {which} has no class '{name}'. {nearest(str(name), names)}"
                )
    renamed = [rename.get(name, name) for name in teacher]
    for name in student:
        if renamed.count(name) > 1:
            same = [
                old for old, new in zip(teacher, renamed, strict=True) if new == name
            ]
            raise ConfigError(
                f"the teacher's classes {same} would all be '{name}' of the student. "
                'Rename one of them only.'
            )
    return renamed


def _names(listed: object) -> tuple[str, ...]:
    """Class names, listed or of a registered dataset."""
    names = _names_of_dataset(listed) if isinstance(listed, str) else listed
    if (
        not isinstance(names, Sequence)
        or not names
        or not all(isinstance(name, str) for name in names)
    ):
        raise ConfigError(
            'must list the names of all classes, or name a registered dataset such as '
            f"'mmdet.CocoDataset', got {listed!r}."
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"names '{twice[0]}' twice.")
    return tuple(names)


def _names_of_dataset(kind: str) -> Any:
    try:
        dataset = DATASETS.get(kind)
    except RuntimeError:  # how mmengine says that it knows no such name
        dataset = None
    if dataset is None:
        raise ConfigError(
            f"no registered dataset '{kind}'. Give it with its scope, such as "
            "'mmdet.CocoDataset', or list the names: ('cat', 'dog')."
        )
    names = (getattr(dataset, 'METAINFO', None) or {}).get('classes')
    if isinstance(names, str) or not names:
        raise ConfigError(
            f"dataset '{kind}' has no list of classes in its METAINFO. List the names: "
            "('cat', 'dog')."
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
    looked_up = _numbers(tuple(numbers), labels.device)[labels]
    return looked_up.clamp(min=0), looked_up >= 0


@lru_cache(maxsize=64)  # a copy to the device at every step would wait for it
def _numbers(values: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)
