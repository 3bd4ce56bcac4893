"""A run whose value does not depend on how its images are split over processes.

Batch norm is frozen, the samplers keep everything, nothing is augmented; and all images
have the same boxes, since the host's own losses count what each process has.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from .runs import run_config
from .tiny import BOXES, SIDE, all_pairs, config, faster_rcnn, raw_batch, teacher_of


@DATASETS.register_module()
class EqualBoxes(Dataset):
    """Four images of noise that differ in their pixels only."""

    def __init__(self) -> None:
        images = raw_batch(boxes=[BOXES[0]] * 4, sizes=[(SIDE, SIDE)] * 4)
        self.items = [
            dict(inputs=image, data_samples=sample)
            for image, sample in zip(*images.values(), strict=True)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return copy.deepcopy(self.items[index])


def split_config(work_dir: Path, batch_size: int, **changes: Any) -> Config:
    """Three iterations of SGD with hint, RoI and RPN pairs."""
    everything = dict(num=10_000, pos_fraction=1.0)
    student = faster_rcnn(
        backbone=dict(norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False)),
        train_cfg__rpn__sampler=everything,
        train_cfg__rcnn__sampler=everything,
    )
    teacher = teacher_of(faster_rcnn(base=6, width=12))
    loader = dict(num_workers=0, dataset=dict(type='EqualBoxes'))
    sampler = dict(type='InfiniteSampler', shuffle=True)
    return run_config(
        config(all_pairs(), student, teacher),
        work_dir,
        train_dataloader=dict(loader, batch_size=batch_size, sampler=sampler),
        train_cfg=dict(by_epoch=False, max_iters=3),
        optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9)
        ),
        **dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')),
        runner_type='kd_plugins.DistillRunner',
        **changes,
    )


def far_apart(one: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """Names of weights that differ by more than 1e-5, and by how much."""
    assert one.keys() == other.keys()
    largest = {
        name: (one[name] - other[name]).abs().max().item()
        for name in one
        if torch.is_floating_point(one[name])
    }
    return {name: value for name, value in largest.items() if value > 1e-5}
