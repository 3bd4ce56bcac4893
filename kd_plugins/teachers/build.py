"""Teachers of a distillation: one, several by name, or several that teach as one."""

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, located, nearest
from ..host_types import HostModule
from .ensemble import Ensemble, kind_of, kinds, members_of
from .teacher import Teacher


class Teachers(dict[str, Teacher]):
    """The models that teach, by name.

    Attributes:
        ensembles: groups of them that teach as one, by name.
    """

    def __init__(self, teachers: list[Teacher | Ensemble]) -> None:
        super().__init__(members_of(teachers))
        self.ensembles = {
            teacher.name: teacher
            for teacher in teachers
            if isinstance(teacher, Ensemble)
        }


def build_teachers(
    cfg: dict[str, Any], student_preprocessor: HostModule | None
) -> Teachers:
    """Teachers by name, of one dict or of a dict of named ones.

    Args:
        cfg: ``teacher`` of a Distiller.
        student_preprocessor: the student's data preprocessor; None for its own.

    Raises: ConfigError, with the key below that of ``teacher``.
    """
    if not isinstance(cfg, dict):
        raise ConfigError(
            f'must be a dict with cfg or model, or a dict of such by name, got {cfg!r}.'
        )
    if is_single(cfg):
        kind, options = kind_of(cfg)
        return Teachers([kind('teacher', options, student_preprocessor)])
    teachers: list[Teacher | Ensemble] = []
    for name, entry in cfg.items():
        with located(name):
            if not isinstance(entry, dict):
                raise ConfigError(
                    f'must be a dict with cfg or model, got {entry!r}. '
                    f'{nearest(name, Teacher.keys)}'
                )
            kind, options = kind_of(entry)
            teacher = kind(name, options, student_preprocessor)
        teacher.put_under(f'{teacher.key}.{name}')
        teachers.append(teacher)
    return Teachers(teachers)


def is_single(cfg: Mapping[str, Any]) -> bool:
    """Whether it describes one teacher, or one ensemble, and no named ones."""
    typed = 'type' in cfg and not isinstance(cfg['type'], dict)
    known = {key for kind in (Teacher, *kinds().values()) for key in kind.keys}
    return typed or not cfg or any(key in known for key in cfg)
