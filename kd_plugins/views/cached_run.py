"""A teacher's pass of which most is read from a cache, and the rest computed."""

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from torch import Tensor

from ..random_stream import random_state_kept
from ..recorders import LayerRecorder
from ..teachers.cache import CachedBatch, Kind
from .heads import head_key
from .rpn.outputs import RPN_KEY
from .run import FEATURES, FrozenRun
from .seg.decode import DECODE_HEAD
from .seg.gradient import GRADIENT_KEY

Result = TypeVar('Result')


class CachedRun(FrozenRun):
    """A frozen run whose tensors of images are those that a cache holds.

    Each tensor is looked up when a view first reads it. Only where an item of the batch
    lacks it does the model run, at most once a step, for the whole batch: other numbers
    of images could give other last bits. What depends on the student, such as the
    answers of a RoI head on its RoIs, is computed in every step, from the cached
    features.

    Args:
        args: as of :class:`FrozenRun`.
        batch: the cache's records of the batch.
    """

    def __init__(self, *args: Any, batch: CachedBatch) -> None:
        self._batch = batch
        self._until = ''
        self._running = False  # whether the teacher itself runs, not a view
        self._own_features: Any = None
        self._own_leaves: list[Tensor] = []
        self._computes: dict[Hashable, Callable[[], Any]] = {}
        self._cached: dict[Hashable, Any] = {}
        self._tensors: dict[str, Tensor] = {}
        super().__init__(*args)

    @property
    def features(self) -> Any:
        """Of its neck: the cached ones; the model's own while it runs itself."""
        if self._running:
            self._run_features()
            return self._own_features
        if self._until != 'heads':
            return None
        return _resolved(self._look_up(FEATURES, self._features_of_neck, 'feature'))

    @features.setter
    def features(self, features: Any) -> None:
        self._own_features = features

    def compute_features(self, until: str) -> None:
        """Remember how far the model is to run, if it must."""
        self._until = until

    def once(
        self, key: Hashable, compute: Callable[[], Result], per_image: bool = True
    ) -> Result:
        """Result of ``compute``, read from the cache or run when first read."""
        if self._running or not per_image:
            return super().once(key, compute, per_image)
        self._computes[key] = compute
        result: Result = self._look_up(key, lambda: self._run(key), _kind(key))
        return result

    def recorded(self, recorder: LayerRecorder, key: Hashable) -> Sequence[Tensor]:
        """What a layer gave during one computation, of images cached too."""
        if key != FEATURES and key not in self._computes:
            return super().recorded(recorder, key)

        def compute() -> list[Tensor]:
            self._run(key)
            return list(super(CachedRun, self).recorded(recorder, key))

        tensors: Sequence[Tensor] = self._look_up((key, recorder), compute, 'feature')
        return tensors

    # The model itself.

    def _run(self, key: Hashable) -> Any:
        if key == FEATURES:
            return self._features_of_neck()
        with self._as_itself():
            return super().once(key, self._computes[key])

    def _features_of_neck(self) -> Any:
        with self._as_itself():
            return self.features

    def _run_features(self) -> None:
        if FEATURES not in self._results:
            super().compute_features(self._until)
            leaves = self._own_features if self._until == 'heads' else None
            self._own_leaves = [leaf for _, leaf in _leaves(leaves, '')]

    @contextmanager
    def _as_itself(self) -> Iterator[None]:
        before, self._running = self._running, True
        try:
            with random_state_kept():  # what it draws must not depend on the cache
                yield
        finally:
            self._running = before

    # The cache.

    def _look_up(self, key: Hashable, compute: Callable[[], Any], kind: Kind) -> Any:
        """The tensors of a computation, each read when it is asked for.

        How they belong together is learned when the teacher first runs, in each
        process.
        """
        if key in self._cached:
            return self._cached[key]
        structures = self._batch.structures
        if key not in structures:
            structures[key] = self._structure(compute(), _name(key))

        def leaf(name: str) -> Tensor:
            def own() -> Tensor:
                return dict(_named(structures[key], compute()))[name]

            if name not in self._tensors:
                self._tensors[name] = self._batch.tensor(name, kind, own)
            return self._tensors[name]

        self._cached[key] = _lazily(structures[key], leaf)
        return self._cached[key]

    def _structure(self, result: Any, name: str) -> Any:
        """The same containers, with names in the place of tensors."""
        if isinstance(result, Tensor):
            for number, feature in enumerate(self._own_leaves):
                if result is feature:  # a recorded neck gives the features themselves
                    return f'{_name(FEATURES)}.{number}'
            return name
        parts = [
            self._structure(part, f'{name}.{number}')
            for number, part in enumerate(result)
        ]
        return _like(result, parts)


class Leaves(Sequence[Any]):
    """Tensors, or sequences of them, each read from the cache when it is asked for."""

    def __init__(self, structure: Sequence[Any], read: Callable[[str], Tensor]) -> None:
        self._structure = structure
        self._read = read

    def __len__(self) -> int:
        return len(self._structure)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Leaves(self._structure[index], self._read)
        return _lazily(self._structure[index], self._read)

    def resolved(self) -> Any:
        """The containers that the model gave, all of its tensors read."""
        return _like(self._structure, [_resolved(item) for item in self])


def _lazily(structure: Any, read: Callable[[str], Tensor]) -> Any:
    if isinstance(structure, str):
        return read(structure)
    if hasattr(structure, '_fields'):
        return _like(structure, [_lazily(part, read) for part in structure])
    return Leaves(structure, read)


def _resolved(item: Any) -> Any:
    return item.resolved() if isinstance(item, Leaves) else item


def _like(container: Sequence[Any], parts: list[Any]) -> Any:
    """Parts in a container of that kind."""
    if hasattr(container, '_fields'):
        return type(container)(*parts)
    return tuple(parts) if isinstance(container, tuple) else parts


def _named(structure: Any, result: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a result by their names."""
    if isinstance(structure, str):
        yield structure, result
        return
    for inner, part in zip(structure, result, strict=True):
        yield from _named(inner, part)


def _leaves(result: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(result, Tensor):
        yield name, result
    elif isinstance(result, (list, tuple)):
        for number, part in enumerate(result):
            yield from _leaves(part, f'{name}.{number}')


def _kind(key: Hashable) -> Kind:
    if key == head_key(DECODE_HEAD):
        return 'classes'
    if key in (RPN_KEY, GRADIENT_KEY):
        return 'whole'
    head = isinstance(key, tuple) and key == head_key(key[-1])
    return 'whole' if head else 'feature'


def _name(key: Hashable) -> str:
    """Of a computation, as a file may be called.

    Example:
        >>> _name(('head', 'bbox_head'))
        'head.bbox_head'
        >>> _name(('features', LayerRecorder('neck.fpn_convs.0', value='input')))
        'features@neck.fpn_convs.0.input'
    """
    if isinstance(key, tuple):
        *before, last = key
        name = '.'.join(_name(part) for part in before)
        if isinstance(last, LayerRecorder):
            return f'{name}@{last.path}.{last.value}'
        return f'{name}.{_name(last)}'
    return re.sub(r'[^\w.@-]+', '_', str(key))
