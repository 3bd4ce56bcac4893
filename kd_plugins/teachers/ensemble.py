"""Several teachers that teach as one."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..build import build, class_of
from ..combinations import Combination
from ..errors import ConfigError, located, nearest
from ..host_types import HostModule
from ..registry import COMBINATIONS, TEACHERS
from .teacher import Teacher

DEFAULT = dict(type='MeanLosses')


@TEACHERS.register_module()
class Ensemble:
    """A group of teachers, whose answers on the same rows are combined.

    Each member is a teacher by itself: loaded late, fed its own preprocessing, run only
    as far as active pairs need it, with a fast copy or a cache of its own. Under its
    own name, 'teacher.0' of the ensemble 'teacher', a pair may ask it alone.

    Args:
        name: under which pairs ask for it.
        cfg: ``members``, a list of teachers, one or more; and ``combine``, how what
            they give becomes what the student learns (default: ``MeanLosses``), see
            :mod:`kd_plugins.combinations`. A pair may name another: ``combine``.
        student_preprocessor: as of :class:`Teacher`.

    Attributes:
        key: its configuration key.
        members: teachers by name.
        combination: of their answers.

    Raises: ConfigError, with the key below its own.
    """

    keys: ClassVar[tuple[str, ...]] = ('members', 'combine')

    def __init__(
        self,
        name: str,
        cfg: dict[str, Any],
        student_preprocessor: HostModule | None = None,
    ) -> None:
        self.name = name
        self.key = 'model.teacher'
        for key in cfg:
            if key not in self.keys:
                raise ConfigError(f"no key '{key}'. {nearest(key, self.keys)}")
        entries = cfg.get('members')
        if not isinstance(entries, (list, tuple)) or not entries:
            raise ConfigError(
                'needs members=[dict(cfg=..., checkpoint=...), ...], one or more, got '
                f'{entries!r}.'
            )
        self.combination = read_combination(cfg.get('combine', DEFAULT))
        self.members: dict[str, Teacher] = {}
        for number, entry in enumerate(entries):
            with located(f'members.{number}'):
                member = _member(f'{name}.{number}', entry, student_preprocessor)
            self.members[member.name] = member
        self.put_under(self.key)

    @classmethod
    def of(
        cls, name: str, members: Mapping[str, Teacher], combine: Mapping[str, Any]
    ) -> 'Ensemble':
        """An ensemble of teachers that are built, and keep their keys.

        Args:
            name: under which pairs ask for it.
            members: by name.
            combine: how what they give is combined.
        """
        ensemble = cls.__new__(cls)
        ensemble.name = name
        ensemble.members = dict(members)
        ensemble.combination = read_combination(dict(combine))
        return ensemble

    def put_under(self, key: str) -> None:
        """Say which configuration key is its own; its members' follow."""
        self.key = key
        for number, member in enumerate(self.members.values()):
            member.key = f'{key}.members.{number}'


def read_combination(cfg: object) -> Combination:
    """A combination of ``dict(type='MeanProbs')``.

    Raises: ConfigError, below the key 'combine', for what is none.
    """
    with located('combine'):
        combination = build(COMBINATIONS, cfg)
        if not isinstance(combination, Combination):
            raise ConfigError(
                f'{type(combination).__name__} is no combination of teachers. '
                f'{nearest("", COMBINATIONS.module_dict)}'
            )
    return combination


def _member(
    name: str, entry: object, student_preprocessor: HostModule | None
) -> Teacher:
    if not isinstance(entry, dict):
        raise ConfigError(f'must be a dict with cfg or model, got {entry!r}.')
    kind, cfg = kind_of(entry)
    if not issubclass(kind, Teacher):
        raise ConfigError(
            'an ensemble within an ensemble is not known. List its members instead.'
        )
    return kind(name, cfg, student_preprocessor)


def kind_of(
    cfg: dict[str, Any],
) -> tuple[type[Teacher] | type[Ensemble], dict[str, Any]]:
    """The kind of teacher that a configuration describes, and its options.

    A ``type`` that is none of ours is one of a model, beside ``cfg``.

    Raises: ConfigError for a ``type`` of neither.
    """
    kind = kind_named(cfg)
    if 'type' in cfg and is_kind(cfg['type']):
        return kind, {key: value for key, value in cfg.items() if key != 'type'}
    _check_keys_of_kinds(cfg)
    if 'type' in cfg and 'cfg' not in cfg:
        raise ConfigError(
            f"no kind of teacher '{cfg['type']}'. "
            f'{nearest(str(cfg["type"]), TEACHERS.module_dict)} A model is written as '
            "model=dict(type='...').",
            key='type',
        )
    return kind, cfg


def _check_keys_of_kinds(cfg: Mapping[str, Any]) -> None:
    """Refuse keys that a plain teacher has not, and another kind has."""
    got = f', got {cfg["type"]!r}' if 'type' in cfg else ''
    for name, kind in kinds().items():
        for key in cfg:
            if key in kind.keys and key not in Teacher.keys:
                raise ConfigError(
                    f"'{key}' is of another kind of teacher: expected "
                    f"type='kd_plugins.{name}'{got}.",
                    key='type',
                )


def kinds() -> dict[str, type[Teacher] | type[Ensemble]]:
    """The kinds of teachers by name, but for the plain one."""
    TEACHERS.import_from_location()
    return {
        name: kind
        for name, kind in TEACHERS.module_dict.items()
        if issubclass(kind, (Teacher, Ensemble))
    }


def kind_named(cfg: Mapping[str, Any]) -> type[Teacher] | type[Ensemble]:
    """The kind of teacher that a ``type`` names; a plain one if it names none."""
    kind = class_of(TEACHERS, cfg['type']) if 'type' in cfg else None
    if kind is not None and issubclass(kind, (Teacher, Ensemble)):
        return kind
    return Teacher


def is_kind(kind: object) -> bool:
    """Whether a ``type`` names a kind of teacher, and no model."""
    found = class_of(TEACHERS, kind)
    return found is not None and issubclass(found, (Teacher, Ensemble))


def members_of(teachers: Sequence[Teacher | Ensemble]) -> dict[str, Teacher]:
    """The models among these, by name; of an ensemble its members."""
    found: dict[str, Teacher] = {}
    for teacher in teachers:
        if isinstance(teacher, Ensemble):
            found |= teacher.members
        else:
            found[teacher.name] = teacher
    return found
