"""Contrastive representation distillation, of Tian, Krishnan and Isola 2020."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.checks import check_float, check_int, check_same_shape
from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._labelled import (
    by_blocks,
    check_same_samples,
    read_labels,
    rows_at,
    sample_pixels,
)
from kd_plugins.losses._queues import (
    ClassQueues,
    gather_rows,
    learns,
    mean_over_ranks,
)
from kd_plugins.losses._reductions import float32_rows, reduce_loss, unit_vectors
from kd_plugins.losses.pair_wise import MAX_ENTRIES
from kd_plugins.registry import LOSSES

# Its exponential is 0; unlike -inf it gives no NaN for a row without negatives.
_EXCLUDED = -1e9


def info_nce(
    student: Tensor,
    teacher: Tensor,
    negatives: Tensor,
    *,
    labels: Tensor | None = None,
    negative_labels: Tensor | None = None,
    temperature: float = 0.07,
    max_entries: int = MAX_ENTRIES,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Cross-entropy of the teacher's embedding among negatives, row by row.

    .. math:: L_i = -\log \frac{e^{s_i^\top t_i / \tau}}
        {e^{s_i^\top t_i / \tau} + \sum_{j \in A_i} e^{s_i^\top q_j / \tau}}

    Args:
        student: embeddings, shape (R, D), any float dtype; s is their direction.
        teacher: same shape and rows; t is their direction. It may take a gradient.
        negatives: q, shape (M, D), of length 1, M >= 1; no gradient is needed.
        labels: class of each row, shape (R,).
        negative_labels: class of each negative, shape (M,), -1 for an empty slot: A_i
            are the negatives of other classes than the row's. Default: all of them.
        temperature: > 0, no unit.
        max_entries: the most similarities to compute at a time: if R M is more, they
            are computed in blocks of rows, and once more in the backward pass.
        mask: shape (R,), the weight of a row, 0 to 1; 0 drops it.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats, >= 0, and 0 for a row without negatives; scalar, or (R,) for 'none'.
    Raises: ShapeError if the shapes do not fit; ConfigError for invalid values.
    Source: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4. The paper
        on distillation (:class:`CRDLoss`) uses :func:`contrastive_nce`.

    Example:
        >>> import torch
        >>> feature, negative = torch.eye(2).split(1)
        >>> info_nce(feature, feature, negative, temperature=1.0)
        tensor(0.3133)
    """
    check_same_shape(student, teacher, layout='RC')
    check_float('temperature', temperature, strict=True)
    check_int('max_entries', max_entries)
    _check_negatives(student, negatives, labels, negative_labels)
    if labels is None or negative_labels is None:
        labels = torch.zeros(len(student), device=student.device)
        negative_labels = torch.ones(len(negatives), device=student.device)
    classes = negative_labels
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        columns = negatives.to(student).transpose(0, 1)

        def contrast(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
            student = unit_vectors(student) / temperature
            positive = (student * unit_vectors(teacher)).sum(dim=1)
            excluded = (classes == label[:, None]) | (classes < 0)
            similarities = (student @ columns).masked_fill(excluded, _EXCLUDED)
            return F.softplus(similarities.logsumexp(dim=1) - positive)

        rows = (student, teacher, labels)
        each = by_blocks(contrast, rows, max(max_entries // len(negatives), 1))
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _check_negatives(
    student: Tensor,
    negatives: Tensor,
    labels: Tensor | None,
    negative_labels: Tensor | None,
) -> None:
    if negatives.dim() != 2 or negatives.shape[1] != student.shape[1]:
        raise ShapeError(
            f'negatives must be (M, {student.shape[1]}), got {tuple(negatives.shape)}.'
        )
    if not len(negatives):
        raise ShapeError('negatives must be (M, D), M >= 1, got none.')
    shapes = [
        None if item is None else tuple(item.shape)
        for item in (labels, negative_labels)
    ]
    expected = [(len(student),), (len(negatives),)]
    if shapes not in ([None, None], expected):
        raise ShapeError(
            f'labels and negative_labels must be {expected[0]} and {expected[1]}, or '
            f'both None, got {shapes[0]} and {shapes[1]}.'
        )


@LOSSES.register_module()
class CRDLoss(DistillationLoss):
    """Weighted :func:`info_nce` of RoIs or pixels, against a memory by class.

    A dense form of the paper's loss. The paper's own, :func:`contrastive_nce`,
    contrasts whole images by their index in the data set, which the hosts do not give.
    Here a learned layer for each model makes embeddings. The positive of a RoI or pixel
    is the teacher's embedding of the same one; its negatives are the teacher's earlier
    embeddings of other classes. RoIs and pixels without a class (background, ignored)
    are left out.

    The memory holds num_classes queue_size embed_dims numbers, saved in the training
    checkpoint. A call takes num_negatives embed_dims drawn numbers, a few copies of the
    RoIs or pixels that it compares (at most max_samples of an image), and at most
    8 max(max_entries, num_negatives) more numbers.

    The memory is updated in training only, before it is read, and not if
    ``loss_weight`` is 0; an absent class keeps its embeddings. Ranks exchange their
    embeddings, so their memories stay equal, and the mean is that over all ranks. All
    ranks must call the loss equally often. Levels or stages of a pair share one memory.

    Args:
        num_classes: K, >= 2, without background.
        student_channels: of the student's RoIs or maps; a pair sets it.
        teacher_channels: of the teacher's; likewise.
        loss_weight: factor of the value, >= 0 (the paper: 0.8).
        embed_dims: of an embedding.
        queue_size: embeddings of each class in the memory.
        num_negatives: drawn at each call, of all classes (the paper: 16384).
        max_samples: the most pixels of an image, a weighted sample of all.

    Other arguments: as of :func:`info_nce`.
    Raises: ConfigError for invalid values.
    Source: Tian et al., Contrastive Representation Distillation, ICLR 2020,
        https://arxiv.org/abs/1910.10699. Memory by class and InfoNCE are our choice.
    """

    same_channels = False

    def __init__(
        self,
        num_classes: int,
        student_channels: int,
        teacher_channels: int,
        loss_weight: float = 1.0,
        embed_dims: int = 128,
        temperature: float = 0.07,
        queue_size: int = 2048,
        num_negatives: int = 16384,
        max_samples: int = 256,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        super().__init__(loss_weight)
        # With a single class there would be no negatives.
        self.num_classes = check_int('num_classes', num_classes, 2)
        self._channels = (
            check_int('student_channels', student_channels),
            check_int('teacher_channels', teacher_channels),
        )
        check_int('embed_dims', embed_dims)
        check_int('queue_size', queue_size)
        self.temperature = check_float('temperature', temperature, strict=True)
        self.num_negatives = check_int('num_negatives', num_negatives)
        self.max_samples = check_int('max_samples', max_samples)
        self.max_entries = check_int('max_entries', max_entries)
        self.student_projection = nn.Linear(student_channels, embed_dims)
        self.teacher_projection = nn.Linear(teacher_channels, embed_dims)
        self.queues = ClassQueues(num_classes, queue_size, embed_dims)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The loss of these RoIs or maps; see :func:`info_nce`.

        Args:
            student: shape (R, C) or (N, C, H, W), any float dtype.
            teacher: same but for the channels.
            target: class labels, shape (R,) or (N, H, W).
            mask: of that shape, 1 keeps and 0 drops.

        Raises: ShapeError if the shapes do not fit, and without target.
        """
        check_same_samples(student, teacher, self._channels)
        size = (len(student), *student.shape[2:])
        labels, valid = read_labels(target, mask, size, self.num_classes)
        weights = valid.float()
        if student.dim() == 4:
            index, weights = sample_pixels(valid, self.max_samples)
            labels = labels.flatten(1).gather(1, index).flatten()
            student, teacher = rows_at(student, index), rows_at(teacher, index)
        with float32_rows(student, teacher.detach(), mask=weights) as (
            student,
            teacher,
        ):
            student = self.student_projection(student)
            teacher = self.teacher_projection(teacher)
            count = weights.sum()
            if learns(self):
                self._remember(teacher.detach(), labels, weights > 0)
                count = mean_over_ranks(count)
            negatives, classes = self.queues.draw(self.num_negatives)
            return self.loss_weight * info_nce(
                student,
                teacher,
                negatives,
                labels=labels,
                negative_labels=classes,
                temperature=self.temperature,
                max_entries=self.max_entries,
                mask=weights,
                avg_factor=count,
            )

    def _remember(self, teacher: Tensor, labels: Tensor, kept: Tensor) -> None:
        self.queues.push(*gather_rows(unit_vectors(teacher[kept]), labels[kept]))
