"""Boxes of the ground truth that do not all count the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from torch import Tensor, nn

from ...datasets.pseudo_labels import WEIGHTS
from ...distillers.interface import is_distiller, unwrap
from ...errors import ConfigError
from ...host_types import HostModule
from ...registry import HOOKS


@HOOKS.register_module()
class BoxWeightsHook(Hook):
    """Weighs the rows of a RoI head by the boxes that they are assigned to.

    A sample whose ``gt_instances`` have ``weights`` (one number a box, such as the
    score of a pseudo-label) gives its positive RoIs these weights, in the losses of
    classes and of deltas; the background, and other samples, count as ever. The RPN
    does too: whether something is there does not depend on how sure its class is.

    The head of the student, or of each peer, alone changes, and within a step alone.

    Raises: ConfigError for a model without a RoI head that weighs its rows.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self._attached: AbstractContextManager[None] | None = None

    def before_train(self, runner: Runner) -> None:
        self._box_heads(runner)

    @staticmethod
    def _box_heads(runner: Runner) -> list[HostModule]:
        return [
            head
            for student in students_of(runner.model)
            for head in box_heads(student, 'BoxWeightsHook')
        ]

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        weights = weights_of(data_batch)
        if any(each is not None for each in weights):
            self._attached = weighted_boxes(self._box_heads(runner), weights)
            self._attached.__enter__()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        if self._attached is not None:
            self._attached.__exit__(None, None, None)
            self._attached = None


def students_of(model: nn.Module) -> list[HostModule]:
    """What is trained: a distiller's student, every peer, or the model itself."""
    inner: Any = unwrap(model)
    if is_distiller(inner):
        return [learner.student for learner in inner.learners.values()]
    return [inner]


def weights_of(batch: Any) -> list[Tensor | None]:
    """Weights of the boxes of each sample of a batch; None where it has none."""
    samples = batch['data_samples']
    return [sample.gt_instances.get(WEIGHTS) for sample in samples]


def box_heads(student: HostModule, asking: str) -> list[HostModule]:
    """The box heads of all stages of a RoI head.

    Args:
        student: a detector.
        asking: the hook, for the message.

    Raises: ConfigError if there is none whose targets have weights of rows.
    """
    roi_head = getattr(student, 'roi_head', None)
    heads = getattr(roi_head, 'bbox_head', None)
    stages: list[Any] = [*heads] if isinstance(heads, nn.ModuleList) else [heads]
    if heads is not None:
        from mmdet.models.roi_heads.bbox_heads import BBoxHead

        own = BBoxHead.get_targets
        if all(getattr(type(each), 'get_targets', None) is own for each in stages):
            return stages
    raise ConfigError(
        f'{asking} weighs boxes in the RoI head of a two-stage detector, whose targets '
        f'are those of BBoxHead; {type(student).__name__} has none.'
    )


@contextmanager
def weighted_boxes(
    heads: Sequence[HostModule], weights: Sequence[Tensor | None]
) -> Iterator[None]:
    """Weigh, within the block, what these heads learn of the boxes of a batch.

    Args:
        heads: box heads, of one or more stages.
        weights: for each image, of each of its boxes; None: all count in full.
    """
    before = [head.__dict__.get('get_targets') for head in heads]
    for head in heads:
        head.__dict__['get_targets'] = _weighing(head.get_targets, weights)
    try:
        yield
    finally:
        for head, method in zip(heads, before, strict=True):
            if method is None:
                del head.__dict__['get_targets']
            else:
                head.__dict__['get_targets'] = method


def _weighing(
    method: Callable[..., Any], weights: Sequence[Tensor | None]
) -> Callable[..., Any]:
    def get_targets(results: Any, cfg: Any, concat: bool = True) -> Any:
        labels, label_weights, deltas, delta_weights = method(results, cfg, concat)
        factors: Any = [
            _factors(each, own) for each, own in zip(results, weights, strict=True)
        ]
        if concat:
            factors = torch.cat(factors)
            return (
                labels,
                label_weights * factors,
                deltas,
                delta_weights * factors[:, None],
            )
        pairs = list(zip(label_weights, delta_weights, factors, strict=True))
        return (
            labels,
            [one * factor for one, _, factor in pairs],
            deltas,
            [one * factor[:, None] for _, one, factor in pairs],
        )

    return get_targets


def _factors(result: Any, weights: Tensor | None) -> Tensor:
    """Of the RoIs of an image: the positive ones first, as the host lists them."""
    positive, negative = result.pos_assigned_gt_inds, result.neg_priors
    ones: Tensor = result.pos_priors.new_ones(len(positive) + len(negative))
    if weights is not None and len(positive):
        ones[: len(positive)] = weights.to(ones)[positive]
    return ones
