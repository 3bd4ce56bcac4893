"""Choose pairs by what both models are: each candidate is tried on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...host_types import HostModule
from ...random_stream import random_state_kept
from ...teachers import Teachers
from ...views import Probe
from ...views.binding import bind_as_it_is, comparable
from ..pair_config import WHERE, build_pair, build_probes
from .changes import merged, read_changes
from .kinds import kind_of
from .table import TABLE, Role
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
    cfg: str | Mapping[str, Any], student: HostModule, teachers: Teachers
) -> Choice:
    """The pairs of the table that both models can serve.

    Nothing is drawn, nothing of the models changes, and every process chooses the same.

    Args:
        cfg: 'auto', or ``dict(type='auto', ...)``, whose other entries are merged into
            the pairs by name, as configs inherit; None removes one.
        student: the student model.
        teachers: by name. Of several each has its pairs, named ``<pair>_<teacher>``,
            and an equal part of the shares.

    Raises: ConfigError without a teacher; if nothing of one can be compared, and no
        entry by hand does; for a changed entry that there is not.
    """
    if not teachers:
        raise ConfigError(
            "'auto' chooses what student and teacher both are, and this run has no "
            'teacher (model.teacher=None). Set model.teacher, or write pairs whose '
            'losses read none.',
            key=WHERE,
        )
    if teachers.ensembles:
        raise ConfigError(
            "'auto' chooses for single models, and a teacher is an Ensemble. Write its "
            'pairs, or let it choose for one member and copy what the log prints.',
            key=WHERE,
        )
    probes = build_probes(student, teachers)
    number = len(teachers)
    with random_state_kept():
        found = {name: _found(probes[name], number) for name in teachers}
        pairs = {key: item for one in found.values() for key, item in one.pairs.items()}
        left_out = tuple(line for one in found.values() for line in one.left_out)
        changes = read_changes(cfg, list(pairs), left_out)
        for name, one in found.items():
            if not one.pairs and not _names(changes, name, number):
                _refuse(one, probes[name])
        names = dict.fromkeys([*pairs, *changes])
        resolved = {
            name: _resolved(name, pairs.get(name), changes, probes)
            for name in names
            if changes.get(name, name) is not None
        }
    return Choice(resolved, tuple(one.models for one in found.values()), left_out)


@dataclass(frozen=True)
class _Pair:
    """A pair as the table has it, and with its levels and adapter."""

    cfg: dict[str, Any]
    resolved: dict[str, Any]


@dataclass(frozen=True)
class _Found:
    """What one teacher can teach."""

    pairs: dict[str, _Pair]
    models: str
    left_out: list[str]


def _found(probe: Probe, teachers: int) -> _Found:
    """Pairs of the table that a student and one of so many teachers can serve."""
    student_kind, teacher_kind = kind_of(probe.student), kind_of(probe.teacher)
    roles = TABLE[student_kind if student_kind == teacher_kind else 'other']
    pairs: dict[str, _Pair] = {}
    left_out: list[str] = []
    if student_kind != teacher_kind:
        left_out.append('what their heads answer: student and teacher are of two kinds')
    for role in roles:
        name, pair, reasons = _first_served(role, probe, teachers)
        if pair is None:
            left_out += reasons
        else:
            pairs[name] = pair
    models = (
        f'{type(probe.teacher).__name__} ({teacher_kind}) teaches '
        f'{type(probe.student).__name__} ({student_kind})'
    )
    if teachers > 1:
        models = f'{probe.teacher_name}: {models}'
    return _Found(pairs, models, left_out)


def _first_served(
    role: Role, probe: Probe, teachers: int
) -> tuple[str, _Pair | None, list[str]]:
    """The first candidate that both models can serve, else why each was not."""
    reasons = []
    for candidate in role:
        cfg = candidate.pair(round(candidate.share / teachers, 3))
        name = candidate.name
        if teachers > 1:
            name = f'{name}_{probe.teacher_name}'
            cfg['teacher'] = probe.teacher_name
        try:
            _, resolved = build_pair(
                name, cfg, {probe.teacher_name: probe}, bind_as_it_is
            )
        except ConfigError as error:
            reasons.append(f'{candidate.shown}: {" ".join(str(error).split())}')
        except Exception as error:  # whatever a foreign model may raise
            reasons.append(f'{candidate.shown}: {type(error).__name__}: {error}')
        else:
            return name, _Pair(cfg, resolved), []
    return '', None, reasons


def _resolved(
    name: str,
    pair: _Pair | None,
    changes: Mapping[str, Any],
    probes: Mapping[str, Probe],
) -> Any:
    """A pair with its levels and adapter, changed; a faulty one as it is written."""
    if name not in changes:
        assert pair is not None
        return pair.resolved
    cfg = merged(None if pair is None else pair.cfg, changes[name])
    try:
        return build_pair(name, cfg, probes)[1]
    except ConfigError:  # told together with the others when the pairs are built
        return cfg


def _names(changes: Mapping[str, Any], teacher: str, number: int) -> bool:
    """Whether an entry by hand is of this teacher."""
    return any(
        isinstance(pair, Mapping) and (number == 1 or pair.get('teacher') == teacher)
        for pair in changes.values()
    )


def _refuse(found: _Found, probe: Probe) -> None:
    tried = ''.join(f'\n  {line}' for line in found.left_out)
    others = ', '.join(comparable(probe)) or 'nothing that kd_plugins knows'
    raise ConfigError(
        f"'auto' finds nothing to compare with teacher '{probe.teacher_name}': "
        f'{found.models}. Tried:{tried}\nOf these two models can be compared: '
        f'{others}.',
        key=WHERE,
    )
