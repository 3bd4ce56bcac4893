"""Batches that a hook looks at: the same each time, and nothing else is shifted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import ConfigDict

from kd_plugins.engine.hooks._batches import training_batches

from ...distillers.runs import run_config
from ...distillers.tiny import faster_rcnn


def test_two_passes_are_equal_and_shift_no_draw(tmp_path: Path) -> None:
    loader = ConfigDict(
        run_config(faster_rcnn(), tmp_path).train_dataloader,
        num_workers=2,  # each key of these would be refused without workers
        prefetch_factor=4,
        persistent_workers=True,
    )
    runner: Any = SimpleNamespace(cfg=SimpleNamespace(train_dataloader=loader))
    before = torch.get_rng_state()
    passes, drawn = [], []
    for _ in range(2):
        images = []
        for batch in training_batches(runner, 5, seed=3):
            images += batch['inputs']
            drawn.append(torch.rand(1))  # as a head that samples
        passes.append(images)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(passes[0]) == 4  # once through the data, not 5 batches
    for one, other in zip(*passes, strict=True):
        assert torch.equal(one, other)
    half = len(drawn) // 2
    assert drawn[:half] == drawn[half:]
