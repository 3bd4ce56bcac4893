"""Decode heads that learn from two label maps of each image."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from torch import Tensor, nn

from ..errors import ConfigError
from ..host_types import HostModule
from .mixup import Mix, shared_size

_IGNORED = 255


@dataclass(frozen=True)
class MixedMap:
    """The second label map of an image, and how much the first one counts.

    Attributes:
        labels: shape (1, H, W), 255 where the second image does not reach.
        weights: shape (H, W), lambda; 1 where it does not reach.
    """

    labels: Tensor
    weights: Tensor

    def padded(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Both, as large as the first label map was padded to, on its device."""
        height, width = labels.shape[-2:]
        edges = (0, width - self.labels.shape[-1], 0, height - self.labels.shape[-2])
        return (
            F.pad(self.labels, edges, value=_IGNORED).to(labels),
            F.pad(self.weights, edges, value=1.0).to(labels.device),
        )


def second_map(mix: Mix, at: int, maps: Sequence[Tensor]) -> MixedMap:
    """What is mixed into the label map of an image of a batch."""
    first, second = maps[at], maps[mix.partner]
    labels = torch.full_like(first, _IGNORED)
    weights = torch.ones(first.shape[1:])
    if mix.weight < 1:
        height, width = shared_size(first, second)
        labels[:, :height, :width] = second[:, :height, :width]
        weights[:height, :width] = mix.weight
    return MixedMap(labels, weights)


def decode_heads(student: HostModule) -> list[HostModule]:
    """All heads of a segmentor.

    Raises: ConfigError for one whose loss does not weigh pixels.
    """
    heads: list[Any] = []
    for name in ('decode_head', 'auxiliary_head'):
        head = getattr(student, name, None)
        if head is not None:
            heads += [*head] if isinstance(head, nn.ModuleList) else [head]
    for head in heads:
        losses = getattr(head, 'loss_decode', None)
        each: Any = losses if isinstance(losses, nn.ModuleList) else [losses]
        others = {type(loss).__name__ for loss in each} - {'CrossEntropyLoss'}
        if others or type(head).loss_by_feat is not _loss_of_hosts():
            raise ConfigError(
                'MixedBatchesHook weighs the pixels of a CrossEntropyLoss, in a head '
                f'that computes its loss as BaseDecodeHead does; {type(head).__name__} '
                f'has {", ".join(sorted(others)) or "a loss of its own"}.'
            )
    return heads


def _loss_of_hosts() -> Any:
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    return BaseDecodeHead.loss_by_feat


@contextmanager
def mixed_labels(
    heads: Sequence[HostModule], maps: Sequence[MixedMap]
) -> Iterator[None]:
    """Let decode heads learn, within the block, from two label maps of each image.

    Args:
        heads: of a segmentor, whose losses weigh pixels.
        maps: the second ones, image by image.
    """
    before = [head.__dict__.get('loss_by_feat') for head in heads]
    for head in heads:
        head.__dict__['loss_by_feat'] = _mixing(head, head.loss_by_feat, maps)
    try:
        yield
    finally:
        for head, method in zip(heads, before, strict=True):
            if method is None:
                del head.__dict__['loss_by_feat']
            else:
                head.__dict__['loss_by_feat'] = method


class _Weights:
    """In the place of a head's sampler, whose answer weighs the pixels of its loss."""

    def __init__(self, weights: Tensor, sampler: Any) -> None:
        self._weights, self._sampler = weights, sampler

    def sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weights (N, H, W); times those of the head's own sampler."""
        if self._sampler is None:
            return self._weights
        own: Tensor = self._sampler.sample(logits, labels)
        return self._weights * own


def _mixing(
    head: Any, method: Callable[..., Any], maps: Sequence[MixedMap]
) -> Callable[..., Any]:
    def loss_by_feat(logits: Tensor, samples: Sequence[Any]) -> dict[str, Tensor]:
        padded = [
            each.padded(sample.gt_sem_seg.data)
            for each, sample in zip(maps, samples, strict=True)
        ]
        weights = torch.stack([weight for _, weight in padded])
        others = []
        for sample, (labels, _) in zip(samples, padded, strict=True):
            other = type(sample)(metainfo=sample.metainfo)
            other.gt_sem_seg = PixelData(data=labels)
            others.append(other)
        sampler = head.sampler
        try:
            head.sampler = _Weights(weights, sampler)
            losses: dict[str, Tensor] = method(logits, samples)
            head.sampler = _Weights(1 - weights, sampler)
            second = method(logits, others)
        finally:
            head.sampler = sampler
        return {
            name: value + second[name] if 'loss' in name else value
            for name, value in losses.items()
        }

    return loss_by_feat
