"""The stream of our own draws for itself, and leaves the default generators alone."""

import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

from kd_plugins import random_stream
from kd_plugins.random_stream import RandomStream, get_random_state, set_random_state


def draws() -> list[float]:
    return [
        random.gauss(0, 1),
        float(np.random.randn()),  # of two at once: the other waits in the state
        torch.rand(()).item(),
    ]


def seed() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def test_nothing_is_drawn_from_the_default_generators() -> None:
    seed()
    expected = [draws() for _ in range(3)]
    seed()
    found = [draws()]
    stream = RandomStream(7)
    with stream.active():
        draws()
    found.append(draws())
    with suppress(ZeroDivisionError), stream.active():
        draws()
        raise ZeroDivisionError
    found.append(draws())
    assert found == expected


def test_it_goes_on_where_it_stood() -> None:
    stream, other = RandomStream(7), RandomStream(7)
    with stream.active():
        expected = [draws() for _ in range(3)]
    for each in expected[:2]:
        with other.active():
            assert draws() == each
    third = RandomStream(8)
    third.load_state_dict(other.state_dict())
    with third.active():
        assert draws() == expected[2]


def test_states_are_put_back() -> None:
    seed()
    draws()
    state = get_random_state()
    expected = draws()
    set_random_state(state)
    assert draws() == expected


def test_seeds_no_gpu_that_is_not_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch would remember the seed, and give it to the host's generators."""
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', pytest.fail)
    with RandomStream(7).active():
        draws()


def test_gpus_that_are_used_later_have_its_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = RandomStream(7)
    device = torch.Generator().manual_seed(1)  # stands for that of a GPU
    host = torch.rand(4, generator=torch.Generator().manual_seed(1))
    own = torch.rand(4, generator=torch.Generator().manual_seed(7))
    monkeypatch.setattr(random_stream, '_cuda_generators', lambda: (device,))
    found: list[Any] = []
    for half in range(2):
        with stream.active():
            found.append(torch.rand(2, generator=device))
        outside = torch.rand(2, generator=device)
        assert torch.equal(outside, host[2 * half : 2 * half + 2])
    assert torch.equal(torch.cat(found), own)
