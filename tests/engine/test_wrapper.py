import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn

from kd_plugins.engine.wrapper import DistillDistributedDataParallel
from kd_plugins.registry import MODEL_WRAPPERS


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What reaches the host's wrapper."""
    options: dict[str, object] = {}

    def remember(self: object, **given: object) -> None:
        options.update(given)

    monkeypatch.setattr(MMDistributedDataParallel, '__init__', remember)
    return options


def test_device_ids_are_left_out_on_the_cpu(passed: dict[str, object]) -> None:
    DistillDistributedDataParallel(nn.Linear(2, 2), device_ids=[1])
    assert passed['device_ids'] is None
    assert passed['broadcast_buffers'] is False
    assert passed['find_unused_parameters'] is False


def test_device_ids_are_passed_on_elsewhere(passed: dict[str, object]) -> None:
    with torch.device('meta'):
        model = nn.Linear(2, 2)
    DistillDistributedDataParallel(model, device_ids=[1], find_unused_parameters=True)
    assert passed['device_ids'] == [1]
    assert passed['find_unused_parameters'] is True


def test_it_is_registered() -> None:
    found = MODEL_WRAPPERS.get('kd_plugins.DistillDistributedDataParallel')
    assert found is DistillDistributedDataParallel
