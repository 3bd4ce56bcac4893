"""Choose pairs by what both models are: each candidate is tried on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, located
from ...host_types import HostModule
from ...random_stream import random_state_kept
from ...teachers import Teacher
from ...views import Probe
from ...views.binding import bind_as_it_is, comparable
from ..pair_config import WHERE, build_pair, build_probes
from .changes import merged, read_changes
from .kinds import kind_of
from .table import TABLE, Candidate, Role
from .text import pairs_text

AUTO = 'auto'


@dataclass(frozen=True)
class Choice:
    """What ``pairs='auto'`` chose.

    Attributes:
        pairs: as a configuration writes them, by name; what was changed by hand, too.
        models: kinds of student and teacher, a line for each teacher.
        left_out: what the models cannot serve, and why, a line each.
    """

    pairs: dict[str, dict[str, Any]]
    models: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def text(self) -> str:
        """The pairs as text: in place of 'auto' it gives the same run."""
        return pairs_text(self.pairs)

    def summary(self) -> str:
        """The models, what was left out, and the text."""
        lines = [f"pairs='auto': {line}" for line in self.models]
        lines += [f'left out: {line}' for line in self.left_out]
        lines.append('The same as text, to be copied and changed:')
        return '\n'.join([*lines, self.text()])


def is_auto(cfg: object) -> bool:
    """Whether pairs are to be chosen.

    Raises: ConfigError for a ``type`` that is another.
    """
    kind = cfg.get('type', cfg) if isinstance(cfg, Mapping) else cfg
    if kind is not cfg and kind != AUTO:
        raise ConfigError(f"must be 'auto', got {kind!r}.", key=f'{WHERE}.type')
    return bool(kind == AUTO)


def choose(
    cfg: str | Mapping[str, Any], student: HostModule, teachers: Mapping[str, Teacher]
) -> Choice:
    """The pairs of the table that both models can serve.

    Nothing is drawn, nothing of the models changes, and every process chooses the same.

    Args:
        cfg: 'auto', or ``dict(type='auto', ...)``, whose other entries are merged into
            the pairs by name, as configs inherit; None removes one.
        student: the student model.
        teachers: by name. Of several each has its pairs, named ``<pair>_<teacher>``,
            and an equal part of the shares.

    Raises: ConfigError if nothing of a teacher can be compared, and no entry by hand
        does; for a changed entry that there is not.
    """
    probes = build_probes(student, teachers)
    with random_state_kept():
        chosen = {
            name: _choose_for(name if len(probes) > 1 else '', probe, len(probes))
            for name, probe in probes.items()
        }
        pairs = {
            key: pair for one in chosen.values() for key, pair in one.pairs.items()
        }
        left_out = [line for one in chosen.values() for line in one.left_out]
        changes = read_changes(cfg, pairs, left_out)
        for name, one in chosen.items():
            if not one.pairs and not _names(changes, name, len(probes)):
                _refuse(name, one, probes[name])
        pairs = {
            name: _resolved(name, pair, probes)
            for name, pair in merged(pairs, changes).items()
            if pair is not None
        }
    models = tuple(line for one in chosen.values() for line in one.models)
    return Choice(pairs, models, tuple(left_out))


def _choose_for(teacher: str, probe: Probe, number: int) -> Choice:
    """Of one teacher; its name is '' if it is the only one."""
    student_kind, teacher_kind = kind_of(probe.student), kind_of(probe.teacher)
    roles = TABLE[student_kind if student_kind == teacher_kind else 'other']
    pairs: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    if student_kind != teacher_kind:
        left_out.append('what their heads answer: student and teacher are of two kinds')
    for role in roles:
        candidate, reasons = _first_served(role, probe)
        if candidate is None:
            left_out += reasons
            continue
        pair = candidate.pair(round(candidate.share / number, 3))
        name = f'{candidate.name}_{teacher}' if teacher else candidate.name
        pairs[name] = {**pair, 'teacher': teacher} if teacher else pair
    models = (
        f'{teacher + ": " if teacher else ""}{type(probe.teacher).__name__} '
        f'({teacher_kind}) teaches {type(probe.student).__name__} ({student_kind})'
    )
    return Choice(pairs, (models,), tuple(left_out))


def _first_served(role: Role, probe: Probe) -> tuple[Candidate | None, list[str]]:
    """The first candidate that both models can serve, else why each was not."""
    reasons = []
    for candidate in role:
        pair = candidate.pair(candidate.share)
        try:
            build_pair(candidate.name, pair, {probe.teacher_name: probe}, bind_as_it_is)
        except ConfigError as error:
            reasons.append(f'{candidate.shown}: {" ".join(str(error).split())}')
        except Exception as error:  # whatever a foreign model may raise
            reasons.append(f'{candidate.shown}: {type(error).__name__}: {error}')
        else:
            return candidate, []
    return None, reasons


def _resolved(
    name: str, pair: dict[str, Any], probes: Mapping[str, Probe]
) -> dict[str, Any]:
    """Its adapter and levels as they were found; a faulty one as it is."""
    try:
        return build_pair(name, pair, probes)[1]
    except ConfigError:  # told together with the others when the pairs are built
        return pair


def _names(changes: Mapping[str, Any], teacher: str, number: int) -> bool:
    """Whether an entry by hand is of this teacher."""
    return any(
        isinstance(pair, Mapping) and (number == 1 or pair.get('teacher') == teacher)
        for pair in changes.values()
    )


def _refuse(teacher: str, choice: Choice, probe: Probe) -> None:
    tried = ''.join(f'\n  {line}' for line in choice.left_out)
    others = ', '.join(comparable(probe)) or 'nothing that kd_plugins knows'
    with located(WHERE):
        raise ConfigError(
            f"'auto' finds nothing to compare with teacher '{teacher}': "
            f'{choice.models[0]}. Tried:{tried}\nOf these two models can be compared: '
            f'{others}.'
        )
