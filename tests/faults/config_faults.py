"""Configurations with one fault in a key of ours: its name, or its value."""

import copy
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from kd_plugins.errors import LocatedError

Place = tuple[str | int, ...]
# Below these keys of `model` everything is ours.
OURS = (
    *('teacher', 'pairs', 'task_loss_weights', 'init_from_teacher'),
    *('peers', 'deploy', 'switches'),
)
WRONG = (
    None,
    'text',
    '',
    -3,
    0,
    1.5,
    True,
    [],
    {},
    [1, 'a'],
    {'a': 1},
    {'type': 3},
    b'x',
)
# Large enough that what is made of that size fails at once, and nothing is made.
EXTREME = (-1, 1e30, -1e30, float('inf'), float('nan'), 10**12, 5e-324)
_SECONDS = 30


@dataclass(frozen=True)
class Fault:
    """What is wrong with one key.

    Attributes:
        place: keys and indices down to it, below `model`.
        kind: 'misspelt', 'removed', 'added', 'wrong' or 'extreme'.
        value: what stands there instead; of a misspelt or added key, its name.
    """

    place: Place
    kind: str
    value: Any = None

    @property
    def names(self) -> list[str]:
        """What a message about it may name: the key, as it is or as it was."""
        keys = [key for key in self.place if isinstance(key, str)]
        new = [self.value] if self.kind in ('misspelt', 'added') else []
        return [*keys[-1:], *new]

    def applied(self, model: dict[str, Any]) -> dict[str, Any]:
        """A copy of a model's configuration with this fault."""
        model = copy.deepcopy(model)
        node: Any = model
        for key in self.place[:-1]:
            node = node[key]
        last = self.place[-1]
        if self.kind == 'removed':
            del node[last]
        elif self.kind == 'misspelt':
            entries = [(self.value if key == last else key, node[key]) for key in node]
            node.clear()
            node.update(entries)
        elif self.kind == 'added':
            node[last][self.value] = 1
        else:
            node[last] = self.value
        return model


# Of a teacher or peer: its model, and what is changed in that. Their faults are the
# host's.
_HOSTS = ('model', 'backbone', 'neck', 'rpn_head', 'roi_head', 'decode_head')


def places(model: dict[str, Any]) -> list[Place]:
    """All keys of ours in a model's configuration, and the entries of lists."""
    return [
        place for key in OURS if key in model for place in _below(model[key], (key,))
    ]


def _below(node: Any, place: Place) -> Iterator[Place]:
    if place[0] in ('teacher', 'peers') and place[-1] in _HOSTS:
        return
    yield place
    if isinstance(node, dict):
        for key in node:
            yield from _below(node[key], (*place, key))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _below(item, (*place, index))


@st.composite
def faults(draw: st.DrawFn, model: dict[str, Any]) -> Fault:
    """One fault of a model's configuration, any place and any kind alike."""
    place = draw(st.sampled_from(places(model)))
    old, parent = _at(model, place), _at(model, place[:-1])
    kinds = ['wrong', 'wrong', 'extreme']
    if isinstance(old, dict):
        kinds.append('added')
    if len(place) > 1 and isinstance(parent, dict):
        kinds.append('removed')
        if not _is_free(place):
            kinds += ['misspelt', 'misspelt']
    kind = draw(st.sampled_from(kinds))
    value: Any = None
    if kind == 'misspelt':
        value = draw(misspelt(str(place[-1])).filter(lambda name: name not in parent))
    elif kind == 'added':
        value = draw(st.sampled_from(('nonsense', 'loss_weigth', 'types')))
    elif kind != 'removed':
        value = draw(st.sampled_from(WRONG if kind == 'wrong' else EXTREME))
    return Fault(place, kind, value)


def _at(model: Any, place: Place) -> Any:
    for key in place:
        model = model[key]
    return model


def _is_free(place: Place) -> bool:
    """Whether a key is a name of the user's choice: another is no misspelt one.

    So is a glob: a star more means the same.
    """
    return (place[0] in ('pairs', 'peers') and len(place) == 2) or place[-1] == '*'


@st.composite
def misspelt(draw: st.DrawFn, name: str) -> str:
    """A name with a letter left out, doubled or exchanged with the next."""
    at = draw(st.integers(0, len(name) - 1))
    way = draw(st.sampled_from(('left out', 'doubled', 'exchanged')))
    if way == 'left out' and len(name) > 1:
        return name[:at] + name[at + 1 :]
    if way == 'exchanged' and name[at] != name[at - 1]:
        letters = list(name)
        letters[at - 1], letters[at] = letters[at], letters[at - 1]
        return ''.join(letters)
    return name[: at + 1] + name[at:]


def is_clear(error: LocatedError, fault: Fault) -> bool:
    """Whether a message names the key, or one above and what it did not expect."""
    message = str(error)
    if any(name in message for name in fault.names):
        return True
    keys = [key for key in fault.place[:-1] if isinstance(key, str)]
    above = [f'model.{".".join(keys[:number])}' for number in range(2, len(keys) + 1)]
    unexpected = '' if fault.kind == 'removed' else str(fault.value)
    return unexpected in message and any(each in message for each in above)


class Hangs(BaseException):
    """No answer in time; no code under test catches it."""


@contextmanager
def in_time() -> Iterator[None]:
    """Fail where something takes so long that it counts as hanging."""

    def fail(*_: object) -> None:
        raise Hangs(f'nothing after {_SECONDS} s')

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def examples(default: int) -> int:
    """How many faults are tried: more, where KD_FAULTS says so."""
    return int(os.environ.get('KD_FAULTS', default))
