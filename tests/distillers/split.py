"""Runs whose values do not depend on how their images are split over processes.

Batch norm is frozen, the samplers keep everything, nothing is augmented or dropped; and
all images have the same boxes, since the host's own losses count what each process has.
"""

import copy
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from .runs import run_config
from .tiny import (
    BOXES,
    SIDE,
    all_pairs,
    config,
    faster_rcnn,
    hint,
    raw_batch,
    teacher_of,
)
from .tiny_peers import peers_config
from .tiny_seg import head, raw_segments, segmentor
from .tiny_teachers import (
    ensemble,
    privileged,
    route,
    save_anchors,
    with_teacher_images,
)

_EVERYTHING = dict(num=10_000, pos_fraction=1.0)
FROZEN = dict(norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False))
SEGMENT_PAIRS = dict(
    pixel=dict(view='seg.logits', loss=dict(type='PixelWiseLoss')),
    pair=dict(layer='decode_head.bottleneck', loss=dict(type='PairWiseLoss')),
    holistic=dict(
        view='seg.logits',
        loss=dict(
            type='HolisticLoss',
            base_channels=8,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.002, momentum=0.9)),
        ),
    ),
)


class _Images(Dataset):
    """Images as they are, whenever they are asked for."""

    def __init__(self, images: dict[str, Any]) -> None:
        self.items = [
            dict(inputs=image, data_samples=sample)
            for image, sample in zip(*images.values(), strict=True)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return copy.deepcopy(self.items[index])


@DATASETS.register_module()
class EqualBoxes(_Images):
    """Four images of noise that differ in their pixels only."""

    def __init__(self) -> None:
        super().__init__(raw_batch(boxes=[BOXES[0]] * 4, sizes=[(SIDE, SIDE)] * 4))


@DATASETS.register_module()
class EqualPairs(_Images):
    """As :class:`EqualBoxes`, and each holds another image for the teacher."""

    def __init__(self) -> None:
        images = raw_batch(boxes=[BOXES[0]] * 4, sizes=[(SIDE, SIDE)] * 4)
        super().__init__(with_teacher_images(images))


@DATASETS.register_module()
class FixedSegments(_Images):
    """Four images of noise with labels; of the first a corner is ignored."""

    def __init__(self) -> None:
        super().__init__(raw_segments(4))


def split_config(work_dir: Path, batch_size: int, **changes: Any) -> Config:
    """A detector's three iterations of SGD, with hint, RoI and RPN pairs."""
    teacher = teacher_of(faster_rcnn(base=6, width=12), fast=False)  # in any process
    model = config(all_pairs(), _student(), teacher)
    return _config(model, 'EqualBoxes', work_dir, batch_size, changes)


def _student() -> dict[str, Any]:
    return faster_rcnn(
        backbone=FROZEN,
        train_cfg__rpn__sampler=_EVERYTHING,
        train_cfg__rcnn__sampler=_EVERYTHING,
    )


def split_kinds(work_dir: Path, batch_size: int, **changes: Any) -> Config:
    """The same under an ensemble, a route that changes, and a privileged teacher."""
    members = faster_rcnn(base=6, width=12), faster_rcnn(base=8)
    many = ensemble(*members, combine=dict(type='ConfidenceWeights'))
    for member in many['members']:
        member['fast'] = False
    anchors = work_dir / f'anchors_{os.getpid()}'  # each process has its own
    anchors.mkdir(parents=True)
    teachers = dict(
        many=many,
        road=route(save_anchors(anchors, 2), interval=2, fast=False),
        rich=privileged(fast=False),
    )
    logits = dict(view='roi.logits', loss=dict(type='KDLoss', loss_weight=10.0))
    pairs = dict(
        many_cls=logits | dict(teacher='many'),
        many_hint=dict(
            hint(adapter=dict(type='ConvAdapter')),
            teacher='many',
            combine=dict(type='MeanLosses'),
        ),
        road=hint(teacher='road'),
        rich=logits | dict(teacher='rich'),
    )
    model = config(pairs, _student(), teachers)
    return _config(model, 'EqualPairs', work_dir, batch_size, changes)


def split_peers(work_dir: Path, batch_size: int, **changes: Any) -> Config:
    """The same of two detectors that learn together, with pairs in each direction."""
    logits = dict(view='roi.logits', loss=dict(type='KDLoss', loss_weight=10.0))
    pairs = dict(
        logits=logits,
        rpn=dict(all_pairs()['rpn_cls'], student='first'),
        hint=dict(hint(adapter=dict(type='ConvAdapter')), student='second'),
    )
    second = faster_rcnn(
        base=6,
        width=12,
        backbone=FROZEN,
        train_cfg__rpn__sampler=_EVERYTHING,
        train_cfg__rcnn__sampler=_EVERYTHING,
    )
    switches = dict(second=dict(type='AdaptiveSwitch', pair='logits'))
    peers = dict(first=_student(), second=second)
    model = peers_config(pairs, peers, switches=switches)
    return _config(model, 'EqualBoxes', work_dir, batch_size, changes)


def split_alone(work_dir: Path, batch_size: int, **changes: Any) -> Config:
    """A detector's three iterations, its pairs without a teacher but for a noisy one.

    That one, and what the rows of a process make of one another, depend on how the
    images are split.
    """
    noisy = dict(
        view='roi.logits',
        target_transform=dict(type='NoisyTeacherTransform', share=1.0),
        loss=dict(type='LogitL2Loss'),
    )
    losses = ('BAKELoss', 'LabelSmoothingLoss', 'TfNKDLoss', 'USKDLoss')
    pairs = {
        loss.lower(): dict(view='roi.logits', loss=dict(type=loss)) for loss in losses
    }
    teacher = teacher_of(faster_rcnn(base=6, width=12), fast=False)
    model = config(pairs | dict(noisy=noisy), faster_rcnn(backbone=FROZEN), teacher)
    return _config(model, 'EqualBoxes', work_dir, batch_size, changes)


def split_segments(work_dir: Path, batch_size: int, **changes: Any) -> Config:
    """The same of a segmentor, with pixel, pair and holistic."""
    fixed = dict(dropout_ratio=0.0, norm_cfg=dict(type='GN', num_groups=2))
    student = segmentor(
        decode=head('PSPHead', 8, pool_scales=(1, 2), **fixed),
        auxiliary_head=head('FCNHead', 4, num_convs=1, **fixed) | dict(in_index=0),
    )
    student['backbone'] |= FROZEN
    model = config(SEGMENT_PAIRS, student, teacher_of(segmentor(8), fast=False))
    changes = dict(default_scope='mmseg') | changes
    return _config(model, 'FixedSegments', work_dir, batch_size, changes)


def _config(
    model: Any, dataset: str, work_dir: Path, batch_size: int, changes: dict[str, Any]
) -> Config:
    loader = dict(num_workers=0, dataset=dict(type=dataset))
    sampler = dict(type='InfiniteSampler', shuffle=True)
    return run_config(
        model,
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
