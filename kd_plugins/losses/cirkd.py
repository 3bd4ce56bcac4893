"""Cross-image relations of pixels, of Yang et al. 2022, with memories."""

import torch
from torch import Tensor, nn

from kd_plugins.checks import check_float, check_int, check_pixel_mask, check_same_size
from kd_plugins.errors import ConfigError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._labelled import (
    check_same_samples,
    read_labels,
    rows_at,
    sample_pixels,
)
from kd_plugins.losses._queues import (
    ClassQueues,
    gather_rows,
    index_in_group,
    learns,
    mean_over_ranks,
)
from kd_plugins.losses._reductions import float32_rows, unit_vectors
from kd_plugins.losses.cross_image import (
    MAX_NODES,
    cross_image_divergence,
    memory_divergence,
)
from kd_plugins.losses.pair_wise import MAX_ENTRIES
from kd_plugins.registry import LOSSES


@LOSSES.register_module()
class CIRKDLoss(DistillationLoss):
    """Relations of pixels within a batch, and to remembered pixels and regions.

    The sum of :func:`cross_image_divergence`, and of :func:`memory_divergence` to a
    memory of pixels and to one of regions, which are means of a class in an image. Each
    term has its own weight; a term of weight 0 is not computed and has no memory. The
    memories hold embeddings of the teacher. A projection of the student's pixels
    (convolution, batch norm, ReLU, convolution) is trained with the student; its batch
    norm is over all ranks if the configuration sets ``sync_bn``.

    The memories hold K (pixel_size + region_size) C_T numbers, saved in the training
    checkpoint: at the paper's sizes, of 19 classes and 512 channels, 0.9 GB. A call
    takes K (pixel_slots + region_slots) C_T drawn numbers, a few copies of the two
    features, and at most 8 max(max_entries, K pixel_slots, N max_nodes) more numbers.

    The memories are updated in training only, before they are read, and not if
    ``loss_weight`` is 0; an absent class keeps its embeddings. Ranks exchange their
    embeddings, so their memories stay equal, and the mean is that over all ranks. The
    images of a rank are compared with each other only. All ranks must call the loss
    equally often.

    Args:
        num_classes: K; the memories need it and both numbers of channels.
        student_channels: C_S; a pair sets it.
        teacher_channels: C_T; likewise.
        loss_weight: factor of the sum, >= 0.
        batch_weight: of the relations in the batch, >= 0.
        pixel_weight: of those to the memory of pixels, >= 0.
        region_weight: of those to the memory of regions, >= 0.
        temperature: of all terms.
        pixel_size: pixels of each class in the memory.
        region_size: regions of each class in the memory.
        pixels_per_class: new pixels of each class in an image.
        pixel_slots: pixels of each class that a call draws from the memory.
        region_slots: likewise regions.
        max_samples: pixels of an image that are compared with the memories, a weighted
            sample of all (the paper: all).

    Other arguments: as of :func:`cross_image_divergence`.
    Raises: ConfigError for invalid values.
    Source: as of :func:`cross_image_divergence`. The released code writes the overflow
        into a queue's last slots and restarts the queue; here the oldest entry leaves.
    """

    same_channels = False

    def __init__(
        self,
        num_classes: int | None = None,
        student_channels: int | None = None,
        teacher_channels: int | None = None,
        loss_weight: float = 1.0,
        batch_weight: float = 1.0,
        pixel_weight: float = 0.1,
        region_weight: float = 0.1,
        temperature: float = 0.1,
        pixel_size: int = 20000,
        region_size: int = 2000,
        pixels_per_class: int = 16,
        pixel_slots: int = 4096,
        region_slots: int = 1024,
        max_samples: int = 256,
        max_nodes: int = MAX_NODES,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        super().__init__(loss_weight)
        self.batch_weight = check_float('batch_weight', batch_weight)
        self._slots = {
            'pixel': check_int('pixel_slots', pixel_slots),
            'region': check_int('region_slots', region_slots),
        }
        sizes = {
            'pixel': check_int('pixel_size', pixel_size),
            'region': check_int('region_size', region_size),
        }
        weights = {
            'pixel': check_float('pixel_weight', pixel_weight),
            'region': check_float('region_weight', region_weight),
        }
        self._weights = {kind: weight for kind, weight in weights.items() if weight}
        if not self.batch_weight and not self._weights:
            raise ConfigError(
                'batch_weight, pixel_weight and region_weight are all 0: nothing is '
                'left to learn. Set one of them, or loss_weight=0.'
            )
        self.temperature = check_float('temperature', temperature, strict=True)
        self.pixels_per_class = check_int('pixels_per_class', pixels_per_class)
        self.max_samples = check_int('max_samples', max_samples)
        self.max_nodes = check_int('max_nodes', max_nodes)
        self.max_entries = check_int('max_entries', max_entries)
        self._channels: tuple[int | None, int | None] = (None, None)
        self.queues = nn.ModuleDict()
        if not self._weights:
            return
        self.num_classes = check_int('num_classes', num_classes)
        narrow = check_int('student_channels', student_channels)
        dims = check_int('teacher_channels', teacher_channels)
        self._channels = (narrow, dims)
        self.projection = nn.Sequential(
            nn.Conv2d(narrow, dims, kernel_size=1, bias=False),
            nn.BatchNorm2d(dims),
            nn.ReLU(),
            nn.Conv2d(dims, dims, kernel_size=1, bias=False),
        )
        for kind in self._weights:
            self.queues[kind] = ClassQueues(self.num_classes, sizes[kind], dims)

    @property
    def needs_target(self) -> bool:
        """Only the memories need labels."""
        return bool(self._weights)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The weighted sum of the terms.

        Args:
            student: feature, shape (N, C_S, H, W), any float dtype.
            teacher: shape (N, C_T, H, W).
            target: class labels, shape (N, H, W), for the memories.
            mask: same shape, 1 keeps and 0 drops a pixel.

        Raises: ShapeError if the shapes do not fit, and for a missing target.
        """
        check_same_size(student, teacher)
        check_same_samples(student, teacher, self._channels)
        if mask is not None:
            check_pixel_mask(mask, student)
        teacher = teacher.detach()
        terms = []
        if self.batch_weight:
            relations = self._in_batch(student, teacher, mask)
            terms.append(self.batch_weight * relations)
        if self._weights:
            size = (len(student), *student.shape[2:])
            labels, valid = read_labels(target, mask, size, self.num_classes)
            terms += self._to_memories(student, teacher, labels, valid)
        return self.loss_weight * torch.stack(terms).sum()

    def _in_batch(
        self, student: Tensor, teacher: Tensor, mask: Tensor | None
    ) -> Tensor:
        if mask is None:
            mask = student.new_ones(len(student), *student.shape[2:])
        images = (mask.flatten(1) > 0).any(dim=1).sum()
        return cross_image_divergence(
            student,
            teacher,
            temperature=self.temperature,
            max_nodes=self.max_nodes,
            max_entries=self.max_entries,
            mask=mask,
            avg_factor=mean_over_ranks(images) if learns(self) else images,
        )

    def _to_memories(
        self, student: Tensor, teacher: Tensor, labels: Tensor, valid: Tensor
    ) -> list[Tensor]:
        """Weighted divergence to each memory."""
        index, weights = sample_pixels(valid, self.max_samples)
        with float32_rows(student, teacher) as (student, teacher):
            # Before the batch norm, which an infinity would spread.
            student = student.masked_fill(~valid[:, None], 0.0)
            rows = rows_at(self.projection(student), index)
            count = weights.sum()
            if learns(self):
                self._remember(teacher, labels, valid)
                count = mean_over_ranks(count)
            return [
                weight
                * memory_divergence(
                    rows,
                    rows_at(teacher, index),
                    self._memory(kind).draw_slots(self._slots[kind]),
                    temperature=self.temperature,
                    max_entries=self.max_entries,
                    mask=weights,
                    avg_factor=count,
                )
                for kind, weight in self._weights.items()
            ]

    @torch.no_grad()
    def _remember(self, teacher: Tensor, labels: Tensor, valid: Tensor) -> None:
        """Add some pixels, and the mean of each class in each image."""
        keys = torch.rand(valid.numel(), device=valid.device)
        pixels = valid.flatten().nonzero()[:, 0]
        rows = unit_vectors(teacher.permute(0, 2, 3, 1).flatten(0, 2)[pixels])
        labels = labels.flatten()[pixels]
        images = pixels // valid[0].numel()
        regions = images * self.num_classes + labels
        if 'pixel' in self._weights:
            order = keys[pixels].argsort()
            sample = order[index_in_group(regions[order]) < self.pixels_per_class]
            self._memory('pixel').push(*gather_rows(rows[sample], labels[sample]))
        if 'region' in self._weights:
            sums = rows.new_zeros(len(valid) * self.num_classes, rows.shape[1])
            sums.index_add_(0, regions, rows)
            present = regions.unique()
            means = unit_vectors(sums[present])
            classes = present % self.num_classes
            self._memory('region').push(*gather_rows(means, classes))

    def _memory(self, kind: str) -> ClassQueues:
        queues = self.queues[kind]
        assert isinstance(queues, ClassQueues)
        return queues
