"""Mixup of the images of a batch, as MIX-KD distils on it."""

from contextlib import ExitStack
from typing import Any

import numpy as np
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from torch import Tensor

from ...checks import check_bool, check_float, check_int
from ...distillers.interface import is_distiller, unwrap
from ...errors import ConfigError
from ...host_types import HostModule
from ...registry import HOOKS
from ..mixed_labels import decode_heads, mixed_labels, second_map
from ..mixup import draw_mixes, joined, joined_boxes, mixed_image
from .box_weights import (
    BoxWeightsHook,
    box_heads,
    students_of,
    weighted_boxes,
    weights_of,
)


@HOOKS.register_module()
class MixedBatchesHook(Hook):
    r"""Mixes images of a batch two by two, before student and teachers see them.

    .. math:: x' = \lambda x_1 + (1 - \lambda) x_2, \qquad \lambda \sim B(a, a)

    for each image, with another of the batch at random. What the student
    learns of it by its labels:

    - of a segmentor ``lambda`` times the cross-entropy with the first label map plus
      ``1 - lambda`` times that with the second; a pixel is ignored in the term of the
      map that ignores it;
    - of a detector the boxes of both, weighed by ``lambda`` and ``1 - lambda`` in the
      RoI head, see :class:`BoxWeightsHook`. The RPN counts all of them in full.

    The first image gives the size: a larger second one is cropped, and where a smaller
    one ends the first stays as it is. Validation sees no mixed image.

    Args:
        alpha: a, > 0; 1 draws lambda evenly.
        share: of the images of a batch that are mixed, at random, 0 to 1; 1 is the
            paper's full mixup, less its partial one.
        seed: of the draws, which depend on it, the iteration and the process alone:
            nothing else that draws is shifted, and a resumed run draws the same.
        weigh_boxes: False lets all boxes count in full, as one-stage detectors with
            mixup do.

    Raises: ConfigError for values that cannot be, and for models, losses and teachers
        that cannot learn from mixed images.
    Source: Choi et al., Understanding the Role of Mixup in Knowledge Distillation: An
        Empirical Study, WACV 2023, https://arxiv.org/abs/2211.03946. Author code:
        https://github.com/hchoi71/MIX-KD, whose partial mixup draws the images that
        stay with replacement, and mixes more than it says; here ``share`` holds.
    """

    # Before the hook that weighs boxes.
    priority = 'ABOVE_NORMAL'

    def __init__(
        self,
        alpha: float = 1.0,
        share: float = 1.0,
        seed: int = 0,
        weigh_boxes: bool = True,
    ) -> None:
        self.alpha = check_float('alpha', alpha, strict=True)
        self.share = check_float('share', share)
        if self.share > 1:
            raise ConfigError(f'share must be at most 1, got {share:g}.')
        self.seed = check_int('seed', seed, minimum=0)
        self.weigh_boxes = check_bool('weigh_boxes', weigh_boxes)
        self._attached = ExitStack()
        self._heads: list[HostModule] = []
        self._segments = False

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        if is_distiller(model):
            for learner in model.learners.values():
                _check_teachers(learner)
        weighs = self.weigh_boxes and not any(
            isinstance(hook, BoxWeightsHook) for hook in runner.hooks
        )
        students = students_of(model)
        self._segments = hasattr(students[0], 'decode_head')
        self._heads = []
        for student in students:
            if self._segments:
                self._heads += decode_heads(student)
            else:
                self._heads += _box_heads(student, weighs)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        inputs, samples = _content(data_batch)
        draw = np.random.default_rng([self.seed, runner.iter, get_rank()])
        mixes = draw_mixes(draw, len(inputs), self.alpha, self.share)
        images = list(inputs)
        if self._segments:
            maps = [sample.gt_sem_seg.data for sample in samples]
            mixed = [second_map(mix, at, maps) for at, mix in enumerate(mixes)]
            self._attached.enter_context(mixed_labels(self._heads, mixed))
        else:
            sizes = [image.shape[1:] for image in images]
            instances = [sample.gt_instances for sample in samples]
            ignored = [sample.get('ignored_instances') for sample in samples]
            for at, mix in enumerate(mixes):
                boxes = joined_boxes(mix, at, sizes, instances, self.weigh_boxes)
                samples[at].gt_instances = boxes
                own, other = ignored[at], ignored[mix.partner]
                if mix.weight < 1 and own is not None and other is not None:
                    samples[at].ignored_instances = joined(own, other, sizes[at])
            if self._heads:
                weights = weights_of(data_batch)
                self._attached.enter_context(weighted_boxes(self._heads, weights))
        for at, mix in enumerate(mixes):
            inputs[at] = mixed_image(images[at], images[mix.partner], mix.weight)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        self._attached.close()


def _box_heads(student: HostModule, weighs: bool) -> list[HostModule]:
    """Heads of a detector in which boxes are to be weighed.

    Raises: ConfigError for a detector that cannot learn from mixed images.
    """
    if getattr(student, 'with_mask', False):
        raise ConfigError(
            f'MixedBatchesHook mixes boxes, and {type(student).__name__} learns '
            'instance masks as well.'
        )
    if not weighs:
        return []
    try:
        return box_heads(student, 'MixedBatchesHook')
    except ConfigError as error:
        raise ConfigError(
            f'{error} Set weigh_boxes=False: the boxes of both images then count in '
            'full.'
        ) from error


def _content(batch: Any) -> tuple[list[Tensor], list[Any]]:
    inputs = batch.get('inputs') if isinstance(batch, dict) else None
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not isinstance(inputs, list) or not isinstance(samples, list):
        got = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
        raise ConfigError(
            "MixedBatchesHook mixes batches of 'inputs' and 'data_samples', a list "
            f'each, as pseudo_collate makes them, got {got}.'
        )
    return inputs, samples


def _check_teachers(model: Any) -> None:
    """Refuse teachers that would not see the mixed image."""
    for name, teacher in model.teachers.items():
        if teacher.cache is not None:
            raise ConfigError(
                f"teacher '{name}' has a cache, of images that are not mixed. Remove "
                'its cache, or MixedBatchesHook.'
            )
        if not teacher.same_images:
            raise ConfigError(
                f"teacher '{name}' sees other images than the student, which are not "
                "mixed. Give it no type='Privileged', or remove MixedBatchesHook."
            )
