"""A random stream of our own, so that the student's draws stay those of the host."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

RandomState = dict[str, Any]


def get_random_state() -> RandomState:
    """States of the default generators: python, numpy, torch, and cuda if in use."""
    state: Any = np.random.get_state()
    name, keys, position, has_gauss, cached = state
    return {
        'python': random.getstate(),
        # As a tensor, so that checkpoints hold nothing but tensors and containers.
        'numpy': (
            name,
            torch.from_numpy(keys.astype(np.int64)),
            position,
            has_gauss,
            cached,
        ),
        'torch': torch.get_rng_state(),
        'cuda': (torch.cuda.get_rng_state_all() if _cuda_in_use() else []),
    }


def _cuda_in_use() -> bool:
    in_use: bool = torch.cuda.is_initialized()
    return in_use


def set_random_state(state: RandomState) -> None:
    """Put the default generators where :func:`get_random_state` found them."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state(
        (name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached)
    )
    torch.set_rng_state(state['torch'].cpu())
    # A checkpoint of a machine with other GPUs: those that are here are restored.
    for device, cuda in enumerate(state['cuda'][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda.cpu(), device)


class RandomStream:
    """Generators that run only inside ``with stream.active()``.

    Outside, the default generators go on as if nothing had been drawn: this is what
    keeps a run whose loss weights are all 0 bit-identical to the host's own.

    Args:
        seed: starts all the generators of this stream.
    """

    def __init__(self, seed: int) -> None:
        outer = get_random_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        self._state = get_random_state()
        set_random_state(outer)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this stream within the block."""
        outer = get_random_state()
        set_random_state(self._state)
        try:
            yield
        finally:
            self._state = get_random_state()
            set_random_state(outer)

    def state_dict(self) -> RandomState:
        """Where this stream stands."""
        return self._state

    def load_state_dict(self, state: RandomState) -> None:
        """Continue where another stream stood."""
        self._state = state
