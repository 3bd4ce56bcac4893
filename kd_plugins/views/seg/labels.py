"""Labels of pixels: those that a head can know, at the size that is compared."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import DistillationError
from ...host_types import HostModule, Samples
from ...recorders import Recorder
from .decode import decode_stage


class Once:
    """Something that is done a single time."""

    def __init__(self) -> None:
        self._done = False

    def first(self) -> bool:
        """Whether this is the first call."""
        before, self._done = self._done, True
        return not before


@dataclass(frozen=True)
class LabelCheck(Recorder[None]):
    """Refuses labels that the head does not know, before its own loss fails on them.

    On a GPU at the first step alone, as it must be waited for: a wrong dataset shows
    there.

    Args:
        stage: of a cascade.
        on_gpu: whether labels on a GPU are still to be looked at.
    """

    stage: int | None = None
    on_gpu: Once = field(default_factory=Once, compare=False)

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[None]:
        """Check what the model is given within the block."""
        head = decode_stage(model, self.stage, 'seg.logits')

        def check(_model: nn.Module, args: tuple[Any, ...]) -> None:
            _, samples = args
            check_labels(samples, head, self.on_gpu.first())

        handle = model.register_forward_pre_hook(check)
        try:
            yield
        finally:
            handle.remove()


def check_labels(samples: Samples, head: HostModule, on_gpu: bool = True) -> None:
    """Refuse labels of other classes than the head's.

    Args:
        samples: of the batch.
        head: says how many classes there are, and which label is ignored.
        on_gpu: whether to look at those on a GPU.

    Raises: DistillationError naming the label and its file.
    """
    # One column asks a question of two answers.
    classes = max(head.num_classes, 2) if head.out_channels == 1 else head.num_classes
    for sample in samples:
        labels = sample.gt_sem_seg.data
        if labels.is_cuda and not on_gpu:
            continue
        wrong = (labels < 0) | (labels >= classes)
        if head.ignore_index is not None:
            wrong &= labels != head.ignore_index
        if wrong.any():
            meta = sample.metainfo
            file = meta.get('seg_map_path') or meta.get('img_path') or 'an image'
            raise DistillationError(
                f'{file}: a pixel has the label {int(labels[wrong][0])}, and '
                f'decode_head knows 0 to {classes - 1} (num_classes) and '
                f'{head.ignore_index} (ignore_index). Correct the annotation, the '
                "dataset's reduce_zero_label or label_map, or decode_head.num_classes."
            )


def labels_at(
    size: torch.Size, samples: Samples, ignore_index: int | None
) -> tuple[Tensor, Tensor]:
    """Label and mask (N, H, W) of the pixels at this size; masked labels are 0."""
    labels = torch.stack([sample.gt_sem_seg.data for sample in samples])
    if labels.shape[2:] != size:
        labels = F.interpolate(labels.float(), size, mode='nearest-exact')
    labels = labels[:, 0].long()
    if ignore_index is None:  # as some heads of one class are configured
        return labels, torch.ones_like(labels, dtype=torch.float)
    valid = labels != ignore_index
    return labels.masked_fill(~valid, 0), valid.float()
