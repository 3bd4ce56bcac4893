"""Start a student from the weights of its teacher, where the two agree."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..errors import ConfigError, nearest

_WITHOUT_CLASSES = ('backbone', 'neck', 'rpn_head')


def includes_class_head(parts: Sequence[str]) -> bool:
    """Whether some of these parts of a model may know classes."""
    return any(not part.startswith(_WITHOUT_CLASSES) for part in parts)


def read_parts(cfg: object) -> tuple[str, ...]:
    """Parts of a model, of a configuration's name or list of names; None for none.

    Raises: ConfigError for anything else.
    """
    parts = [cfg] if isinstance(cfg, str) else cfg or ()
    if not isinstance(parts, (list, tuple)) or not all(
        isinstance(part, str) for part in parts
    ):
        raise ConfigError(
            'model.init_from_teacher must be a list of parts of the student, such as '
            f"['neck'], got {cfg!r}."
        )
    return tuple(parts)


def check_inherited(
    parts: Sequence[str], student: nn.Module, teachers: Mapping[str, Any]
) -> None:
    """Refuse parts that the student has not, and a teacher that they cannot be of.

    Args:
        parts: dotted names, such as 'neck' or 'roi_head.bbox_head'.
        student: the student model.
        teachers: by name.

    Raises: ConfigError with the nearest names.
    """
    if parts and not teachers:
        raise ConfigError(
            'model.init_from_teacher starts the student from a teacher, and this run '
            'has none (model.teacher=None). Remove it, or set load_from to a '
            'checkpoint of the student.'
        )
    if parts and len(teachers) > 1:
        raise ConfigError(
            f'model.init_from_teacher needs a single teacher, got {sorted(teachers)}.'
        )
    for teacher in teachers.values():
        classes = teacher.class_map
        if includes_class_head(parts) and classes is not None and not classes.copyable:
            raise ConfigError(
                f"model.init_from_teacher={list(parts)}: as the teacher's class_map "
                'has it, the teacher has as many classes as the student, and others, '
                'or in another order: the weights of its head would be copied to the '
                'wrong ones. Inherit the backbone and the neck alone.'
            )
    names = [name for name, _ in student.named_modules() if name]
    for part in parts:
        if part not in names and part not in student.state_dict():
            raise ConfigError(
                f"model.init_from_teacher: the student has no '{part}'. "
                f'{nearest(str(part), names)}'
            )


def copy_matching(
    teacher: nn.Module, student: nn.Module, parts: Sequence[str]
) -> list[str]:
    """Copy the teacher's weights into the student, where names and shapes are equal.

    Tensor by tensor: a convolution of other channels keeps its own kernel and takes the
    teacher's bias.

    Args:
        teacher: whose weights are copied.
        student: whose weights are overwritten, in place.
        parts: dotted names, such as 'neck' or 'roi_head.bbox_head'.

    Returns: one line a part: how many of its tensors were copied.
    Raises: ConfigError if nothing of a part matches.
    """
    teacher_state, student_state = teacher.state_dict(), student.state_dict()
    lines = []
    for part in parts:
        student_keys = [
            key for key in student_state if key == part or key.startswith(f'{part}.')
        ]
        matching = [
            key
            for key in student_keys
            if key in teacher_state
            and teacher_state[key].shape == student_state[key].shape
        ]
        if not matching:
            raise ConfigError(
                f"model.init_from_teacher: no tensor of '{part}' has the same name and "
                'shape in student and teacher. Remove it from the list.'
            )
        for key in matching:
            student_state[key].copy_(teacher_state[key])
        lines.append(f'{part} ({len(matching)} of {len(student_keys)} tensors)')
    return lines
