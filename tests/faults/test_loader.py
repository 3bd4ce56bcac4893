"""A worker of the data loader that fails: the run ends with its message, in time."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.registry import DATASETS

from tests.engine.hooks.toy import ToyDataset, build, names, toy_config

pytestmark = pytest.mark.host
ITEM = 17


@DATASETS.register_module()
class FailingDataset(ToyDataset):
    """Fails at one item, in a worker; ``how`` is 'raises', 'killed' or 'hangs'."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def __getitem__(self, index: int) -> Any:
        if index == ITEM:
            if self.how == 'killed':
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == 'hangs':
                signal.pause()
            raise OSError(f'item {index}: the file is damaged')
        return super().__getitem__(index)


MESSAGES = {
    'raises': (OSError, r'(?s)worker process \d.*item 17: the file is damaged'),
    'killed': (
        RuntimeError,
        r'DataLoader worker \(pid\(?s?\)? ?\d+\) (is killed|exited)',
    ),
    'hangs': (RuntimeError, r'DataLoader timed out after 5 seconds'),
}


@pytest.mark.parametrize('how', MESSAGES)
def test_a_worker_that_fails_ends_the_run(
    tmp_path: Path, how: str, fault: Callable[..., None]
) -> None:
    cfg = toy_config(tmp_path)
    loader = cfg.train_dataloader
    loader.update(num_workers=1, dataset={'type': 'FailingDataset', 'how': how})
    if (
        how == 'hangs'
    ):  # not found out by itself: the loader waits as long as it is told
        loader.timeout = 5
    kind, message = MESSAGES[how]
    with pytest.raises(kind, match=message):
        build(cfg).train()
    assert all(not name.startswith('.') for name in names(tmp_path))
    fault(f'a loader worker {how}', 'the run ends with a message')
