"""Flow of the solution procedure, of Yim et al. 2017: products of two layers."""

import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_choice
from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES

POOLS = ('max', 'average')


def flow_matrix(first: Tensor, last: Tensor, *, pool: str = 'max') -> Tensor:
    r"""Mean product of each channel of one layer with each channel of another.

    .. math:: G_{ij} = \frac{1}{hw} \sum_{p} F^1_{i,p} F^2_{j,p}

    over the pixels p of the map, image by image.

    Args:
        first: feature of one layer, shape (N, m, H, W), any float dtype.
        last: feature of a later one, shape (N, n, H', W').
        pool: 'max' or 'average': pools the larger map to the height and width of the
            smaller one.

    Returns: shape (N, m, n), squared units of the feature, in float32 at least.
    Raises: ShapeError unless both are maps of the same number of images; ConfigError
        for another pool.
    Source: Yim et al., A Gift from Knowledge Distillation, CVPR 2017,
        https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html,
        eq. of the FSP matrix. The paper takes the maximum; several reimplementations
        average.

    Example:
        >>> import torch
        >>> first, last = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0])
        >>> flow_matrix(first.view(1, 1, 1, 2), last.view(1, 1, 1, 2))
        tensor([[[1.]]])
    """
    check_choice('pool', pool, POOLS)
    if first.dim() != 4 or last.dim() != 4 or len(first) != len(last):
        raise ShapeError(
            'a flow runs between two maps (N, C, H, W) of the same images, got first '
            f'{tuple(first.shape)} and last {tuple(last.shape)}. Choose other layers.'
        )
    size = (min(first.shape[2], last.shape[2]), min(first.shape[3], last.shape[3]))
    reduce = F.adaptive_max_pool2d if pool == 'max' else F.adaptive_avg_pool2d
    with float32_rows(first, last) as maps:
        first, last = (
            (item if tuple(item.shape[2:]) == size else reduce(item, size)).flatten(2)
            for item in maps
        )
        flow: Tensor = first @ last.transpose(1, 2) / (size[0] * size[1])
        return flow


def flow_distance(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared Frobenius distance between flow matrices, image by image.

    .. math:: L_n = \sum_{ij} (G^S_{ij} - G^T_{ij})^2

    Args:
        student: matrices of :func:`flow_matrix`, shape (N, m, n), any float dtype.
        teacher: same shape; no gradient is needed.
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: fourth power of the feature's units; a scalar, or shape (N,) for 'none'. It
        does not grow with the map; it grows with the channels and with the scale.
    Raises: ShapeError if the shapes differ.
    Source: as of :func:`flow_matrix`. Reimplementations take the mean over the m n
        entries instead of their sum.

    Example:
        >>> import torch
        >>> flow_distance(torch.full((1, 1, 1), 1.0), torch.full((1, 1, 1), 3.0))
        tensor(4.)
    """
    for name, item in (('student', student), ('teacher', teacher)):
        if item.dim() != 3:
            raise ShapeError(
                f'{name} must be (N, m, n), flow matrices, got {tuple(item.shape)}. '
                "Use view=dict(type='layer.flow', first='...', last='...')."
            )
    if student.shape != teacher.shape:
        raise ShapeError(
            f'student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ '
            'in images or channels. Choose layers of as many channels in both models.'
        )
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        per_image = (student - teacher).square().sum(dim=(1, 2))  # (N,)
        return reduce_loss(per_image, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class FSPLoss(DistillationLoss):
    """Weighted :func:`flow_distance` between flow matrices of the two models.

    The matrices come from ``view=dict(type='layer.flow', first='backbone.layer2.0',
    last='backbone.layer2')``, in the paper the first and the last block of a stage. Use
    one pair for each stage, of equal weight. These layers must have the same channels
    in student and teacher, as in two FPNs: ``first='neck.fpn_convs.0',
    last='neck.fpn_convs.1'``.

    The paper trains in two stages: this loss alone, then the task alone. In one run,
    for a first stage of 1000 iterations::

        model = dict(
            task_loss_weights={
                '*': dict(type='StepSchedule', values=[0, 1], milestones=[1000])
            },
            pairs=dict(
                fsp=dict(
                    loss=dict(
                        loss_weight=dict(
                            type='StepSchedule', values=[1, 0], milestones=[1000]
                        )
                    )
                )
            ),
        )

    Without these schedules both are trained together, as in reimplementations.

    Args:
        loss_weight: factor of the value, >= 0. Reimplementations that average over the
            m n entries take 50: here that is 50 / (m n).

    Other arguments: as of :func:`flow_distance`.
    Raises: ConfigError for invalid values.
    """

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these images; see :func:`flow_distance`."""
        return self.loss_weight * flow_distance(
            student,
            teacher.detach(),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
