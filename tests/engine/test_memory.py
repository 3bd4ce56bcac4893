"""Whether a copy of a model fits beside a training."""

import pytest
import torch

from kd_plugins.engine.memory import has_room_for_copy


def test_on_a_cpu_there_is_always_room() -> None:
    assert has_room_for_copy(torch.nn.Linear(2, 2), 10**15)


class OnGPU:
    """A parameter of 4 MB on a device."""

    device = torch.device('cuda')

    def numel(self) -> int:
        return 1_000_000

    def element_size(self) -> int:
        return 4


@pytest.mark.parametrize(('free', 'room'), [(9_000_000, True), (8_000_000, False)])
def test_a_gpu_needs_room_for_a_copy_its_gradients_and_a_step(
    monkeypatch: pytest.MonkeyPatch, free: int, room: bool
) -> None:
    model = torch.nn.Linear(2, 2)
    monkeypatch.setattr(model, 'parameters', lambda: iter([OnGPU()]))
    monkeypatch.setattr(torch, 'tensor', lambda value, device: value)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda _: 20_000_000)
    monkeypatch.setattr(torch.cuda, 'memory_reserved', lambda _: 50_000_000)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda _: (free, 0))
    # A step takes 27 MB beside what is held, a copy and its gradients 8 MB; with a
    # tenth more these are 38.5 MB, of which 30 are cached.
    assert has_room_for_copy(model, 47_000_000) is room
