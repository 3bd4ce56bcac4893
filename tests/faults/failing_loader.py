"""Trains on data one item of which fails in a worker of the loader.

python -m tests.faults.failing_loader FOLDER HOW

By itself: torch raises from a signal's handler when a worker is killed, at any line.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from tests.engine.hooks.toy import ToyDataset, build, toy_config

ITEM = 17


@DATASETS.register_module()
class FailingDataset(ToyDataset):
    """Fails at one item; ``how`` is 'raises', 'killed' or 'hangs'."""

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


def main(folder: Path, how: str) -> None:
    cfg = toy_config(folder)
    loader = cfg.train_dataloader
    loader.update(num_workers=1, dataset={'type': 'FailingDataset', 'how': how})
    if how == 'hangs':  # without it the loader waits for ever
        loader.timeout = 5
    build(cfg).train()


if __name__ == '__main__':
    main(Path(sys.argv[1]), sys.argv[2])
