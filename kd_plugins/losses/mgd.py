"""Masked generative distillation (MGD) of Yang et al. 2022."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from kd_plugins.checks import check_choice, check_float, check_same_shape
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._levels import (
    block_at,
    blocks_by_level,
    check_channels,
    read_channels,
    zero_of_others,
)
from kd_plugins.losses._random import random_of_rank
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES

MASKED = ('pixels', 'channels')


def generation_distance(
    student: Tensor,
    teacher: Tensor,
    generator: Callable[[Tensor], Tensor],
    keep: Tensor,
    *,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared distance of the teacher's feature to a generated one, image by image.

    .. math:: L_n = \sum_{c,i,j} (F^T - G(m F^S))_{cij}^2

    Args:
        student: feature after its adapter, shape (N, C, H, W), any float dtype.
        teacher: same shape; no gradient is needed.
        generator: G, from a masked feature to one of the same shape.
        keep: m, 1 keeps and 0 masks the generator's input; shape (N, 1, H, W), or
            (N, C, 1, 1) for whole channels.
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: a sum over channels and pixels, as in the paper, so it grows with both; a
        scalar, or shape (N,) for 'none'. Not 0 if student and teacher are equal.
    Raises: ShapeError if the shapes differ.
    Source: Yang et al., Masked Generative Distillation, ECCV 2022,
        https://arxiv.org/abs/2205.01529. Author code: https://github.com/yzd-v/MGD.

    Example:
        >>> import torch
        >>> student, teacher = torch.full((2, 1, 3, 1, 2), 4.0)
        >>> keep = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
        >>> generation_distance(student, teacher, torch.abs, keep)
        tensor(48.)
    """
    check_same_shape(student, teacher, layout='NCHW')
    images, channels, height, width = student.shape
    shapes = (images, 1, height, width), (images, channels, 1, 1)
    if tuple(keep.shape) not in shapes:
        raise ShapeError(
            f'keep must be {shapes[0]} or {shapes[1]}, got {tuple(keep.shape)}.'
        )
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        generated = generator(student * keep.to(student))
        per_image = (teacher - generated).square().flatten(1).sum(dim=1)
        return reduce_loss(per_image, reduction, mask=mask, avg_factor=avg_factor)


def random_keep(
    feature: Tensor, masked_ratio: float, *, masked: str = 'pixels'
) -> Tensor:
    """A random mask of a generator's input: independent entries, 1 or 0.

    It is drawn on the feature's device, from torch's generator of that device. The
    generators of the processes of a run are equal, and each process takes its part of
    one draw.

    Args:
        feature: shape (N, C, H, W).
        masked_ratio: probability of a 0, between 0 and 1.
        masked: 'pixels' of the map; or 'channels', as in the paper's
            classification.

    Returns: shape (N, 1, H, W), or (N, C, 1, 1).

    Example:
        >>> import torch
        >>> random_keep(torch.zeros(1, 2, 1, 3), masked_ratio=0.0)
        tensor([[[[1., 1., 1.]]]])
    """
    check_choice('masked', masked, MASKED)
    images, channels, height, width = feature.shape
    shape = (1, height, width) if masked == 'pixels' else (channels, 1, 1)
    drawn = random_of_rank(images, *shape, device=feature.device)
    return (drawn >= masked_ratio).float()  # never below 0, never 1


def _generator(channels: int) -> nn.Module:
    """Two convolutions that generate the masked part."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size=3, padding=1),
    )


@LOSSES.register_module()
class MGDLoss(DistillationLoss):
    """Weighted :func:`generation_distance`, of a randomly masked feature.

    Each level has its own generator. The student's optimiser trains it, and an export
    leaves it out. A pair takes the mean over its levels; the paper takes the sum: five
    levels need five times the weight.

    Args:
        loss_weight: factor of the value, >= 0 (the paper's alpha: 2e-5, for two-stage
            detectors 5e-7).
        channels: C of the features, >= 1; default: that of the pair.
        levels: number of the pair's levels, or a list such as ``[1, 2]``; default:
            those of the pair.
        masked_ratio: as of :func:`random_keep` (the paper: 0.65 for one-stage
            detectors, 0.45 for two-stage detectors, 0.75 for segmentation).
        masked: as of :func:`random_keep`.

    Other arguments: as of :func:`generation_distance`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        channels: int = 256,
        levels: int | Sequence[int] = 1,
        masked_ratio: float = 0.65,
        masked: str = 'pixels',
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.channels = read_channels(channels)
        self.generators = blocks_by_level(levels, lambda _: _generator(channels))
        self.masked_ratio = check_float('masked_ratio', masked_ratio)
        if self.masked_ratio > 1:
            raise ConfigError(f'masked_ratio must be <= 1, got {masked_ratio!r}.')
        self.masked = check_choice('masked', masked, MASKED)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these images at this level; see :func:`generation_distance`.

        Raises: ShapeError if the shapes differ, or for other channels; ConfigError for
            a level without a generator.
        """
        check_same_shape(student, teacher, layout='NCHW')
        check_channels(student, self.channels)
        generator = block_at(self.generators, context)
        distance = generation_distance(
            student,
            teacher.detach(),
            generator,
            random_keep(student, self.masked_ratio, masked=self.masked),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
        zero = zero_of_others(self.generators, generator)
        return self.loss_weight * (distance + zero)
