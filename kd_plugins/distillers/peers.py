"""From the configuration of models that learn together to models, streams and pairs."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ..checks import check_bool, check_int
from ..errors import ConfigError, collected, located, nearest, raise_together
from ..fingerprint import fingerprint
from ..host_types import HostModule
from ..random_stream import RandomState, RandomStream
from ..teachers import Ensemble, Teachers, build_teachers, model_config
from ..teachers.build import is_single
from ..teachers.checkpoints import load_strictly, load_weights
from ..teachers.ensemble import DEFAULT
from ..teachers.peer import PeerTeacher
from ..teachers.teacher import text_or_none
from .pair_config import WHERE
from .pair_loss import loss_reads_teacher

PEERS = 'model.peers'
KEYS = (
    *('cfg', 'model', 'seed'),
    *('checkpoint', 'checkpoint_prefix', 'allow_random', 'trains', 'fresh'),
)
PAIR_KEYS = ('student',)
# All others of a peer, as one teacher.
OTHERS = 'peers'
_LARGEST_SEED = 2**63


@dataclass(frozen=True)
class PeerOptions:
    """What the configuration says of one peer.

    Attributes:
        model: its configuration.
        seed: added to that of the run.
        checkpoint: that it begins with; None for its own random weights.
        prefix: of the entries that are meant, in a file of several models.
        trains: parts of it that are trained, the others being frozen; nothing for all.
        fresh: whether these parts begin with random weights.
    """

    model: ConfigDict
    seed: int
    checkpoint: str | None = None
    prefix: str | None = None
    trains: tuple[str, ...] = ()
    fresh: bool = False

    def begin(self, model: HostModule, key: str) -> None:
        """Take the weights of the checkpoint, where there is one.

        Args:
            model: the peer, initialised.
            key: its configuration key.

        Raises: CheckpointError for one that does not fit.
        """
        if self.checkpoint is None:
            return
        key = f'{key}.checkpoint'
        fresh = self.trains if self.fresh else ()
        states = {part: _state_of(model, part) for part in fresh}
        weights = load_weights(self.checkpoint, key=key, prefix=self.prefix)
        load_strictly(model, weights, key)
        for part, state in states.items():
            model.get_submodule(part).load_state_dict(state)

    def freeze(self, model: HostModule) -> None:
        """Leave out of the training all but the parts that are trained.

        Raises: ConfigError for a part there is not.
        """
        names = [name for name, _ in model.named_children()]
        for part in self.trains:
            if part not in names:
                raise ConfigError(
                    f"{type(model).__name__} has no part '{part}'. "
                    f'{nearest(part, names)}',
                    'trains',
                )
        for frozen in self.frozen(model):
            frozen.requires_grad_(False)

    def frozen(self, model: HostModule) -> list[nn.Module]:
        """Parts that are not trained."""
        if not self.trains:
            return []
        return [
            part for name, part in model.named_children() if name not in self.trains
        ]


def _state_of(model: nn.Module, part: str) -> dict[str, Tensor]:
    state = model.get_submodule(part).state_dict()
    return {name: value.clone() for name, value in state.items()}


def peer_model(entry: object) -> ConfigDict:
    """The model of a peer, of its entry in ``peers``.

    Args:
        entry: a model dict; or ``dict(model=...)`` or ``dict(cfg=...)``, and ``seed``
            beside it; of 'cfg' also changes of its model.

    Raises: ConfigError for what is none.
    """
    if not isinstance(entry, Mapping) or not {'type', 'cfg', 'model'} & set(entry):
        raise ConfigError(
            "must be a model (a dict with 'type'), dict(model=..., seed=1) or "
            f"dict(cfg='mmdet::...', seed=1), got {entry!r}."
        )
    for key in KEYS if _is_model(entry) else ():
        if key in entry:
            raise ConfigError(
                f'stands beside a model: dict(model=dict(...), {key}=...).', key
            )
    if 'model' not in entry:
        return model_config(dict(entry), beside=KEYS)
    unknown = [key for key in entry if key not in KEYS or key == 'cfg']
    if unknown:
        raise ConfigError(
            f"no key '{unknown[0]}'. {nearest(unknown[0], KEYS)} What belongs to the "
            'model is written within model=dict(...).'
        )
    with located('model'):
        return model_config(entry['model'])


def _is_model(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a model itself, with its type."""
    return 'type' in entry and not {'cfg', 'model'} & set(entry)


def _beginning(
    entry: Mapping[str, Any],
) -> tuple[str | None, str | None, tuple[str, ...], bool]:
    """Of a peer its checkpoint and prefix, the parts that train, whether anew."""
    checkpoint = text_or_none('checkpoint', dict(entry))
    prefix = text_or_none('checkpoint_prefix', dict(entry))
    trains = entry.get('trains') or ()
    trains = (trains,) if isinstance(trains, str) else trains
    if not isinstance(trains, (list, tuple)):
        raise ConfigError(
            f"must be a list of parts, such as ['roi_head'], got {trains!r}.", 'trains'
        )
    fresh = check_bool('fresh', entry.get('fresh', False))
    random = check_bool('allow_random', entry.get('allow_random', False))
    if fresh and not trains:
        raise ConfigError(
            "names no part that begins anew. Add trains=['roi_head'].", 'fresh'
        )
    if trains and checkpoint is None and not random:
        raise ConfigError(
            'leaves the others frozen, and random ones would teach nothing. Set '
            "checkpoint='...pth'.",
            'trains',
        )
    return checkpoint, prefix, tuple(map(str, trains)), fresh


def check_no_peers(model: Mapping[str, Any], what: str) -> None:
    """Refuse models that learn together, where one student and its teachers are asked.

    Args:
        model: of the whole configuration.
        what: looks at them: an option or a tool.

    Raises: ConfigError.
    """
    if PEERS.rpartition('.')[2] in model:
        raise ConfigError(
            f'{what} looks at one student and its frozen teachers: expected '
            f"'kd_plugins.Distiller', got '{model.get('type')}', whose peers teach "
            'each other while they learn. tools/test.py scores the deployed one.',
            'model.type',
        )


def read_peers(cfg: object) -> dict[str, PeerOptions]:
    """Peers by name, of which none may ever be as another.

    Args:
        cfg: of each, by name: as of :func:`peer_model`; None removes one.

    Raises: ConfigError with all faults.
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(f'must be a dict of models by name, got {cfg!r}.', PEERS)
    entries = {name: entry for name, entry in cfg.items() if entry is not None}
    if len(entries) < 2:
        raise ConfigError(
            f'needs two models or more, got {list(entries)}. A student that learns '
            "alone is type='kd_plugins.Distiller', with teacher=None.",
            PEERS,
        )
    peers: dict[str, PeerOptions] = {}
    faults: list[ConfigError] = []
    for number, (name, entry) in enumerate(entries.items()):
        with collected(faults), located(PEERS), located(str(name)):
            if not str(name).isidentifier() or name == OTHERS:
                raise ConfigError(
                    f"cannot be a peer's name: a word, and not '{OTHERS}'. Rename it."
                )
            model = peer_model(entry)
            seed = check_int('seed', entry.get('seed', number), minimum=0)
            begin = {} if _is_model(entry) else entry
            peers[name] = PeerOptions(model, seed, *_beginning(begin))
    raise_together(faults)
    starts: dict[tuple[str, int], str] = {}
    for name, peer in peers.items():
        start = fingerprint(peer.model), peer.seed
        if start in starts:
            raise ConfigError(
                f"'{starts[start]}' and '{name}' are the same model and begin with the "
                f'same seed, {peer.seed}: they would be identical for ever, and teach '
                'each other nothing. Give one of them another.',
                f'{PEERS}.{name}.seed',
            )
        starts[start] = name
    return peers


class PeerStreams:
    """Random streams of peers, each as if it were trained by itself.

    The first peer of seed 0 draws from the default generators, as the host's own run
    does; any other from generators that are seeded by its own seed and the run's.

    Args:
        peers: by name; the default generators are seeded for the run.
    """

    def __init__(self, peers: Mapping[str, PeerOptions]) -> None:
        run = torch.initial_seed()
        first = next(iter(peers))
        self._streams = {
            name: RandomStream((run + peer.seed) % _LARGEST_SEED)
            for name, peer in peers.items()
            if (name, peer.seed) != (first, 0)
        }

    def of(self, name: str) -> AbstractContextManager[None]:
        """A block in which a peer draws."""
        stream = self._streams.get(name)
        return nullcontext() if stream is None else stream.active()

    def add(self, name: str, stream: RandomStream) -> None:
        """Save and restore another stream of a peer's: that of its pairs."""
        self._streams[f'{name}.pairs'] = stream

    def state_dict(self) -> dict[str, RandomState]:
        """The state of each."""
        return {name: each.state_dict() for name, each in self._streams.items()}

    def load_state_dict(self, states: Mapping[str, RandomState]) -> None:
        """Go on from these states; a stream that they lack begins."""
        for name, stream in self._streams.items():
            if name in states:
                stream.load_state_dict(states[name])


def read_pairs(
    cfg: object, peers: Sequence[str], frozen: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Pairs of each peer by its name, every one with its teacher.

    Args:
        cfg: of each pair, by name, as :func:`~.pair_config.build_pairs` takes it; and
            'student', the peer that learns, or several; default: all, but for the one
            that teaches. 'teacher' is a peer, or a frozen model; default: all other
            peers.
        peers: names.
        frozen: names of the frozen teachers.

    Raises: ConfigError with all faults.
    """
    if not isinstance(cfg, Mapping) or 'type' in cfg:
        raise ConfigError(f'must be a dict of pairs by name, got {cfg!r}.', WHERE)
    pairs: dict[str, dict[str, Any]] = {name: {} for name in peers}
    faults: list[ConfigError] = []
    for name, pair in cfg.items():
        if not isinstance(pair, Mapping):  # None removes it; another fault tells later
            for peer in pairs.values():
                peer[name] = pair
            continue
        with collected(faults), located(WHERE), located(name):
            options = dict(pair)
            students = _students(options.pop('student', None), peers)
            alone = 'loss' in options and not loss_reads_teacher(options['loss'])
            teacher = options.get('teacher')
            if teacher is None and alone:
                students = students or list(peers)
            else:
                options['teacher'] = _teacher(teacher, peers, frozen)
                if teacher in students:
                    raise ConfigError(
                        f"'{teacher}' would be its own teacher. Name another peer.",
                        'teacher',
                    )
                students = students or [each for each in peers if each != teacher]
            for student in students:
                pairs[student][name] = dict(options)
    raise_together(faults)
    return pairs


def _students(names: object, peers: Sequence[str]) -> list[str]:
    if names is None:
        return []
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, (list, tuple)) or not listed:
        raise ConfigError(
            f'must be a peer, or a list of some, got {names!r}.', 'student'
        )
    for name in listed:
        if name not in peers:
            raise ConfigError(
                f"there is no peer '{name}'. {nearest(str(name), peers)}", 'student'
            )
    return list(listed)


def _teacher(name: object, peers: Sequence[str], frozen: Sequence[str]) -> str:
    choices = [*peers, *frozen]
    if name is None:
        return OTHERS
    if name not in choices:
        raise ConfigError(
            f"there is no peer, nor a frozen teacher, '{name}'. "
            f'{nearest(str(name), choices)}',
            'teacher',
        )
    return str(name)


def frozen_names(teacher: Mapping[str, Any] | None) -> list[str]:
    """Names of the frozen teachers of a configuration.

    Raises: ConfigError for what is none.
    """
    if teacher is None:
        return []
    if not isinstance(teacher, Mapping):
        raise ConfigError(
            f'must be a dict with cfg or model, or a dict of such, got {teacher!r}.',
            'model.teacher',
        )
    return ['teacher'] if is_single(teacher) else [*teacher]


def teachers_of(
    name: str,
    models: Mapping[str, Any],
    pairs: dict[str, Any],
    teacher: Mapping[str, Any] | None,
) -> Teachers:
    """The teachers that the pairs of one peer ask; those pairs then name them.

    Args:
        name: of the peer.
        models: of all peers.
        pairs: of this peer; in one whose teacher is all the other peers, and there is
            one, this one's name takes their place.
        teacher: configuration of the frozen ones.
    """
    others = [other for other in models if other != name]
    given = [pair for pair in pairs.values() if isinstance(pair, dict)]
    for pair in given:
        # One alone is a plain teacher, unless the pair says how it is combined.
        if pair.get('teacher') == OTHERS and len(others) == 1 and 'combine' not in pair:
            pair['teacher'] = others[0]
    asked = {pair.get('teacher') for pair in given}
    together = OTHERS in asked
    teachers = Teachers(
        [
            PeerTeacher(other, models[other])
            for other in others
            if together or other in asked
        ]
    )
    if together:
        members = {other: teachers[other] for other in others}
        teachers.ensembles[OTHERS] = Ensemble.of(OTHERS, members, DEFAULT)
    if asked & set(frozen_names(teacher)):
        assert teacher is not None
        with located('model.teacher'):
            frozen = build_teachers(dict(teacher), models[name].data_preprocessor)
        teachers.update(frozen)
        teachers.ensembles.update(frozen.ensembles)
    return teachers
