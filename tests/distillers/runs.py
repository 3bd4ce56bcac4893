"""Short runs of the host's runner on tiny detectors, with data from memory."""

import copy
import itertools
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mmengine.runner  # noqa: F401  (registers the host's runner)
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS, RUNNERS
from torch import Tensor
from torch.utils.data import Dataset

from .tiny import CLASSES, raw_batch


@DATASETS.register_module()
class TinyImages(Dataset):
    """Four images; augmented by noise from torch's default stream."""

    metainfo = dict(classes=tuple('abc'[:CLASSES]))

    def __init__(self) -> None:
        one, two = raw_batch(), raw_batch(sizes=((64, 56), (48, 64)))
        self.items = [
            dict(inputs=image, data_samples=sample)
            for part in (one, two)
            for image, sample in zip(part['inputs'], part['data_samples'], strict=True)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = copy.deepcopy(self.items[index])
        noise = torch.randint(0, 40, item['inputs'].shape)
        item['inputs'] = (item['inputs'].long() + noise).clamp(max=255).byte()
        return item


@METRICS.register_module()
class CountBoxes(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(len(data_samples))

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        return dict(images=float(sum(results)))


_run = itertools.count()


def run_config(model: Any, work_dir: Path, **changes: Any) -> Config:
    """Four iterations, validated after the second."""
    loader = dict(batch_size=2, num_workers=0, dataset=dict(type='TinyImages'))
    cfg = dict(
        model=copy.deepcopy(model) if isinstance(model, dict) else model,
        work_dir=str(work_dir),
        default_scope='mmdet',
        train_dataloader=dict(
            **loader, sampler=dict(type='InfiniteSampler', shuffle=True)
        ),
        val_dataloader=dict(
            **loader, sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        train_cfg=dict(by_epoch=False, max_iters=4, val_interval=2),
        val_cfg=dict(),
        val_evaluator=dict(type='CountBoxes'),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1),
        ),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4),
        ),
        randomness=dict(seed=5, deterministic=True),
        experiment_name=f'tiny_{next(_run)}_{work_dir}',  # a second is not enough
        log_level='WARNING',
    )
    cfg.update(changes)
    return Config(cfg)


def train(model: Any, work_dir: Path, **changes: Any) -> Any:
    """The runner, after training."""
    # Formatting the config would take most of the time.
    with patch.object(Config, 'pretty_text', 'work_dir = None'):
        runner = RUNNERS.build(run_config(model, work_dir, **changes))
        runner.train()
    return runner


def assert_same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert not differing, differing
