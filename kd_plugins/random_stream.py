"""A separate random stream, which leaves the host's random numbers unchanged."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

RandomState = dict[str, Any]


class _States(NamedTuple):
    """States in the generators' own form, which is fast to swap twice a step."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]


def get_random_state() -> RandomState:
    """States of the default generators: python, numpy, torch, and cuda if in use."""
    return _portable(_get())


def set_random_state(state: RandomState) -> None:
    """Set the default generators to states of :func:`get_random_state`."""
    _set(_native(state))


@contextmanager
def random_state_kept() -> Iterator[None]:
    """What is drawn within the block shifts no later draw."""
    states = _get()
    try:
        yield
    finally:
        _set(states)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Draw within the block from generators that these numbers seed.

    Python's, numpy's and torch's on the CPU; after the block they continue as before.

    Args:
        numbers: each >= 0; other numbers, or in another order, give other draws.
    """
    words = np.random.SeedSequence(numbers).generate_state(12)
    outer = (
        random.getstate(),
        np.random.get_state(),
        torch.default_generator.get_state(),
    )
    random.seed(int.from_bytes(words[:4].tobytes(), 'little'))
    np.random.seed(words[4:8])
    torch.default_generator.manual_seed(int(words[8:10].view(np.uint64)[0]))
    try:
        yield
    finally:
        random.setstate(outer[0])
        np.random.set_state(outer[1])
        torch.default_generator.set_state(outer[2])


class RandomStream:
    """Generators that run only inside ``with stream.active()``.

    Outside the block the default generators continue as before. A run with loss weights
    of 0 is therefore bit-identical to the host's.

    Args:
        seed: of all generators of this stream.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        outer = _get()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # Not `torch.manual_seed`: before CUDA is in use, torch stores its seed, and
        # later seeds the host's generators with it.
        torch.default_generator.manual_seed(seed)
        self._state = _get()._replace(cuda=[])
        _set(outer)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this stream within the block."""
        outer = _get()
        _set(self._state)
        for generator in _cuda_generators()[len(self._state.cuda) :]:
            generator.manual_seed(
                self._seed
            )  # of a device that is used for the first time
        try:
            yield
        finally:
            self._state = _get()
            _set(outer)

    def state_dict(self) -> RandomState:
        """The states of this stream."""
        return _portable(self._state)

    def load_state_dict(self, state: RandomState) -> None:
        """Continue from the states of another stream."""
        self._state = _native(state)


def _cuda_generators() -> tuple[torch.Generator, ...]:
    if not torch.cuda.is_initialized():
        return ()
    generators: tuple[torch.Generator, ...] = torch.cuda.default_generators
    return generators


def _get() -> _States:
    return _States(
        random.getstate(),
        np.random.get_state(),
        torch.default_generator.get_state(),
        [generator.get_state() for generator in _cuda_generators()],
    )


def _set(states: _States) -> None:
    random.setstate(states.python)
    np.random.set_state(states.numpy)
    torch.default_generator.set_state(states.torch)
    # A checkpoint may have other GPUs: only the present ones are restored.
    for generator, state in zip(_cuda_generators(), states.cuda, strict=False):
        generator.set_state(state)


def _portable(states: _States) -> RandomState:
    """The states as tensors and containers, the only types in our checkpoints."""
    name, keys, position, has_gauss, cached = states.numpy
    numbers = torch.from_numpy(keys.astype(np.int64))
    return {
        'python': states.python,
        'numpy': (name, numbers, position, has_gauss, cached),
        'torch': states.torch,
        'cuda': states.cuda,
    }


def _native(state: RandomState) -> _States:
    version, internal, gauss = state['python']
    name, keys, position, has_gauss, cached = state['numpy']
    numbers = keys.cpu().numpy().astype(np.uint32)
    return _States(
        (version, tuple(internal), gauss),
        (name, numbers, position, has_gauss, cached),
        state['torch'].cpu(),
        [cuda.cpu() for cuda in state['cuda']],
    )
