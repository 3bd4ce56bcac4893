import random

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from kd_plugins.engine.isolation import isolated

pytestmark = pytest.mark.host
NAME = 'of these tests alone'  # another may have left what it made


def test_what_the_hosts_keep_by_name_is_the_block_s_own() -> None:
    hub = MessageHub.get_instance(NAME)
    logger = MMLogger.get_instance(NAME)
    with isolated():
        assert DefaultScope.get_current_instance() is None
        inner = MessageHub.get_instance(NAME)
        assert inner is not hub
        assert MMLogger.get_instance(NAME) is not logger
        DefaultScope.get_instance(NAME, scope_name='mmdet')
        Visualizer.get_instance(NAME)

        class Later(MessageHub):
            """As a module that a run imports brings it."""

        Later.get_instance(NAME)
    assert MessageHub.get_current_instance() is hub
    assert MMLogger.get_current_instance() is logger
    assert DefaultScope.get_current_instance() is None
    assert not Visualizer.check_instance_created(NAME)
    assert not Later.check_instance_created(NAME)


def test_switches_are_as_before_after_an_error_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An earlier test may have left them otherwise.
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', False)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', False)
    torch.use_deterministic_algorithms(False)

    def run() -> None:
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True, warn_only=True)
        raise RuntimeError('out of memory')

    with pytest.raises(RuntimeError, match='out of memory'), isolated():
        run()
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_what_a_run_draws_is_not_felt_by_the_next() -> None:
    def next_draws(number: int) -> tuple[float, ...]:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        with isolated():
            first = np.random.random()
            for _ in range(number):
                random.random(), np.random.random(), torch.rand(1)
            torch.manual_seed(9)
        drawn = random.random(), np.random.random(), torch.rand(1).item()
        assert drawn[1] != first  # or two runs without a seed would be the same
        return drawn

    assert next_draws(1) == next_draws(5)
