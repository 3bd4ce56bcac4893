"""Start a student from the weights of its teacher, where the two agree."""

from collections.abc import Sequence

from torch import nn

from ..errors import ConfigError, nearest


def copy_matching(
    teacher: nn.Module, student: nn.Module, parts: Sequence[str]
) -> list[str]:
    """Copy the teacher's weights into the student, where names and shapes are equal.

    Args:
        teacher: whose weights are copied.
        student: whose weights are overwritten, in place.
        parts: dotted names, such as 'neck' or 'roi_head.bbox_head'.

    Returns: one line a part: how many of its tensors were copied.
    Raises: ConfigError if the student has no such part, or nothing of it matches.
    """
    source, target = teacher.state_dict(), student.state_dict()
    lines = []
    for part in parts:
        mine = [key for key in target if key == part or key.startswith(f'{part}.')]
        if not mine:
            names = [name for name, _ in student.named_modules() if name]
            raise ConfigError(
                f"model.init_from_teacher: the student has no '{part}'. "
                f'{nearest(part, names)}'
            )
        matching = [
            key
            for key in mine
            if key in source and source[key].shape == target[key].shape
        ]
        if not matching:
            raise ConfigError(
                f"model.init_from_teacher: no tensor of '{part}' has the same name and "
                'shape in student and teacher. Remove it from the list.'
            )
        for key in matching:
            target[key].copy_(source[key])
        lines.append(f'{part} ({len(matching)} of {len(mine)} tensors)')
    return lines
