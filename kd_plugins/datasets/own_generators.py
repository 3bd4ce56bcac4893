"""Random generators that transforms hold themselves, beside the default ones."""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

Generator = random.Random | np.random.RandomState | np.random.Generator
_KINDS = (random.Random, np.random.RandomState, np.random.Generator, torch.Generator)
_LEAVES = (str, bytes, int, float, type, ModuleType, FunctionType, np.ndarray)


def pipelines(dataset: object) -> Iterator[Any]:
    """Transforms of a data set, and of those that it wraps."""
    pipeline = getattr(dataset, 'pipeline', None)
    yield from getattr(pipeline, 'transforms', pipeline or ())
    inner = getattr(dataset, 'dataset', None)
    for wrapped in (inner, *getattr(dataset, 'datasets', ())):
        if wrapped is not None:
            yield from pipelines(wrapped)


def own_generators(transforms: Iterable[object]) -> list[Any]:
    """Generators that transforms hold, at any depth, each once and in a fixed order."""
    return [item for item in _held(transforms) if isinstance(item, _KINDS)]


def with_history(transforms: Iterable[object]) -> list[str]:
    """Names of the transforms whose result depends on the images before.

    CachedMosaic and CachedMixUp of mmdet mix with images that they have kept.
    """
    return [
        type(item).__name__
        for item in _held(transforms)
        if hasattr(item, 'results_cache')
    ]


@contextmanager
def reseeded(generators: Sequence[Any], *numbers: int) -> Iterator[None]:
    """Seed these generators by numbers within the block; then they go on as before."""
    states = [_state(item) for item in generators]
    for position, item in enumerate(generators):
        _seed(item, np.random.SeedSequence([*numbers, position]))
    try:
        yield
    finally:
        for item, state in zip(generators, states, strict=True):
            _restore(item, state)


def _held(roots: Iterable[object]) -> Iterator[object]:
    """What these objects hold, themselves included, each once."""
    waiting, seen = list(roots)[::-1], set()
    while waiting:
        item = waiting.pop()
        if item is None or isinstance(item, _LEAVES) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, _KINDS):
            continue
        if isinstance(item, dict):
            parts = list(item.values())
        elif isinstance(item, (list, tuple, set)):
            parts = list(item)
        else:
            parts = list(getattr(item, '__dict__', {}).values())
        waiting += reversed(parts)


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state()


def _restore(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def _seed(generator: Any, sequence: np.random.SeedSequence) -> None:
    words = sequence.generate_state(4)
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = type(generator.bit_generator)(sequence).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(words)
    elif isinstance(generator, random.Random):
        generator.seed(int.from_bytes(words.tobytes(), 'little'))
    else:
        generator.manual_seed(int(words[:2].view(np.uint64)[0]))
