"""Holistic distillation, of Liu et al. 2019: a critic scores the student's maps."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.checks import (
    check_choice,
    check_float,
    check_int,
    check_optional_int,
    check_same_shape,
)
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import (
    AuxiliaryOptimizer,
    DistillationLoss,
    LossContext,
    is_sigmoid,
)
from kd_plugins.losses._critic import Critic
from kd_plugins.losses._random import random_of_rank
from kd_plugins.losses._reductions import float32_rows
from kd_plugins.registry import LOSSES

_MOST_CONVS = 8  # which read maps of 1024x1024
_SMALLEST_STD = 1e-5  # of a channel that is constant in the teacher
KINDS = ('wasserstein', 'hinge')
MAPS = ('probs', 'raw')
# The released script: the student's optimiser and schedule, with another rate.
_OPTIM_WRAPPER = {
    'type': 'OptimWrapper',
    'optimizer': {'type': 'SGD', 'lr': 4e-4, 'momentum': 0.9, 'weight_decay': 5e-4},
}


def critic_objective(
    student_scores: Tensor, teacher_scores: Tensor, *, kind: str = 'wasserstein'
) -> Tensor:
    r"""Objective that the critic minimises: student scores against teacher scores.

    .. math:: E[D(S)] - E[D(T)] \quad\text{or}\quad
        E[\max(0, 1 + D(S))] + E[\max(0, 1 - D(T))]

    Args:
        student_scores: the critic's scores of the student's maps, shape (N,).
        teacher_scores: same shape.
        kind: 'wasserstein' or 'hinge'.

    Returns: scalar; for 'wasserstein' minus the estimated distance.
    Raises: ConfigError for another kind.
    Source: Liu et al., CVPR 2019, https://arxiv.org/abs/1903.04197, l_ho; the hinge
        form is that of Lim and Ye 2017, https://arxiv.org/abs/1705.02894.

    Example:
        >>> import torch
        >>> critic_objective(torch.tensor([1.0, 3.0]), torch.tensor([4.0, 6.0]))
        tensor(-3.)
    """
    check_choice('kind', kind, KINDS)
    if kind == 'hinge':
        return F.relu(1 + student_scores).mean() + F.relu(1 - teacher_scores).mean()
    return student_scores.mean() - teacher_scores.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    student: Tensor,
    teacher: Tensor,
    position: Tensor,
) -> Tensor:
    r"""Squared distance of the critic's slope from 1, between student and teacher maps.

    .. math:: \frac1N \sum_n (\|\nabla_x D(x_n)\|_2 - 1)^2, \qquad
        x_n = a_n z^T_n + (1 - a_n) z^S_n

    Args:
        critic: from maps to scores (N,).
        student: maps, shape (N, K, H, W).
        teacher: same shape.
        position: a, shape (N,), between 0 (student) and 1 (teacher).

    Returns: scalar, >= 0, with a graph to the critic's parameters.
    Source: Gulrajani et al., 2017, https://arxiv.org/abs/1704.00028, eq. 3.

    Example:
        >>> import torch
        >>> maps = torch.zeros(2, 1, 1, 1)
        >>> steep = lambda maps: 3 * maps.flatten(1).sum(1)
        >>> gradient_penalty(steep, maps, maps + 1, torch.tensor([0.5, 1.0]))
        tensor(4.)
    """
    share = position.view(-1, 1, 1, 1)
    between = (share * teacher + (1 - share) * student).detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(
            critic(between).sum(), between, create_graph=True
        )
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


@LOSSES.register_module()
class HolisticLoss(DistillationLoss):
    """Minus the critic's score of the student's maps, weighted.

    An optimiser of its own (``OptimWrapperDict``) trains the critic after each step of
    the student, on the same maps, in float32. The log shows ``critic_<pair>``, the
    critic's objective; with ``_penalty``, the penalty; with ``_student`` and
    ``_teacher``, its mean scores.

    Args:
        loss_weight: factor of the student's part, >= 0 (the paper: 0.1).
        channels: K of the maps; default: that of the pair.
        maps: 'probs', the softmax or sigmoid of logits, as in the paper; or 'raw':
            logits (the released code) or a depth map, normalised by the teacher's mean
            and deviation over the batch, channel by channel.
        condition_on_image: the critic's input includes the image, as in the paper and
            unlike its released code.
        kind: as of :func:`critic_objective`.
        penalty_weight: of :func:`gradient_penalty`, >= 0.
        steps: of the critic for each step of the student, >= 1.
        base_channels: of the critic, >= 2.
        num_convs: of the critic, of stride 2, from 1 to 8. Maps with a side below
            ``4 * 2**num_convs`` are enlarged to it: for maps of 16x16 two are enough,
            at a fifth of the cost of four.
        optim_wrapper: of the critic; default SGD with a rate of 4e-4.

    Raises: ConfigError for invalid values.
    Source: Liu et al., Structured Knowledge Distillation for Semantic Segmentation,
        CVPR 2019, https://arxiv.org/abs/1903.04197, section 3.3.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        channels: int | None = None,
        maps: str = 'probs',
        condition_on_image: bool = True,
        kind: str = 'wasserstein',
        penalty_weight: float = 10.0,
        steps: int = 1,
        base_channels: int = 64,
        num_convs: int = 4,
        optim_wrapper: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(loss_weight)
        check_optional_int('channels', channels)
        check_int('steps', steps)
        check_int('base_channels', base_channels, minimum=2)
        if check_int('num_convs', num_convs) > _MOST_CONVS:
            raise ConfigError(
                f'num_convs must be {_MOST_CONVS} at most, got {num_convs}: each one '
                'doubles the smallest map that the critic reads, and its channels.'
            )
        if channels is None:
            raise ConfigError(
                'channels: number of channels of the maps. A pair sets it; a loss that '
                'is built by hand needs it.'
            )
        self.maps = check_choice('maps', maps, MAPS)
        self.condition_on_image = condition_on_image
        self.kind = check_choice('kind', kind, KINDS)
        self.penalty_weight = check_float('penalty_weight', penalty_weight)
        self.critic = Critic(channels, 3 * condition_on_image, base_channels, num_convs)
        self._steps = steps
        if not isinstance(optim_wrapper, Mapping | None):
            raise ConfigError(
                f'optim_wrapper must be a dict, or None, got {optim_wrapper!r}.'
            )
        self._optim_wrapper = dict(optim_wrapper or _OPTIM_WRAPPER)
        self._batch: tuple[Tensor, Tensor, Tensor | None] | None = None
        self._remaining = 0

    def auxiliary_optimizers(self) -> dict[str, AuxiliaryOptimizer]:
        """The critic's optimiser."""
        optimizer = AuxiliaryOptimizer(
            self.critic, self._optim_wrapper, self._critic_loss, self._steps
        )
        return {'critic': optimizer}

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        context: LossContext | None = None,
    ) -> Tensor:
        """Minus the critic's mean score of the student's maps, weighted.

        Args:
            student: logits or maps, shape (N, K, H, W), any float dtype.
            teacher: same shape; for the critic's step.
            context: images, and the activation of the logits.

        Raises: ShapeError if the shapes differ, or if the images are missing.
        """
        check_same_shape(student, teacher, layout='NCHW')
        with float32_rows(student, teacher.detach()) as (student, teacher):
            student, teacher = self._read(student, teacher, context)
            image = self._condition(context, student)
            if torch.is_grad_enabled():  # for the critic's steps
                self._batch = (student.detach(), teacher, image)
                self._remaining = self._steps
            with _frozen(self.critic):
                scores: Tensor = self.critic(student, image)
        return -self.loss_weight * scores.mean()

    def _read(
        self, student: Tensor, teacher: Tensor, context: LossContext | None
    ) -> tuple[Tensor, Tensor]:
        """The input of the critic, of student and teacher."""
        if self.maps == 'raw':
            # Both by the teacher's statistics, to keep the student's scale and offset.
            std, mean = torch.std_mean(teacher, dim=(0, 2, 3), keepdim=True)
            std = std.clamp(min=_SMALLEST_STD)
            return (student - mean) / std, (teacher - mean) / std
        if context is not None and context.activation is None:
            raise ConfigError(
                "maps='probs' is for logits, and the view of this pair gives no "
                "activation. Set maps='raw', or use view='seg.logits'."
            )
        if is_sigmoid(None, context, student):
            return student.sigmoid(), teacher.sigmoid()
        return student.softmax(dim=1), teacher.softmax(dim=1)

    def _condition(self, context: LossContext | None, maps: Tensor) -> Tensor | None:
        if not self.condition_on_image:
            return None
        if context is None or context.step.inputs is None:
            raise ShapeError(
                'condition_on_image=True, and there is no image: the loss was called '
                'without context.step.inputs. Set condition_on_image=False.'
            )
        return F.interpolate(
            context.step.inputs.detach().to(maps), maps.shape[2:], mode='bilinear'
        )

    def _critic_loss(self) -> tuple[Tensor | None, dict[str, Tensor]]:
        if self._batch is None:
            return None, {}
        student, teacher, image = self._batch
        self._remaining -= 1
        if self._remaining == 0:  # each batch is used for ``steps`` steps only
            self._batch = None
        with torch.autocast(student.device.type, enabled=False):
            student_scores = self.critic(student, image)
            teacher_scores = self.critic(teacher, image)
            objective = critic_objective(student_scores, teacher_scores, kind=self.kind)
            position = random_of_rank(len(student), device=student.device)
            penalty = gradient_penalty(
                lambda maps: self.critic(maps, image), student, teacher, position
            )
        log_vars = {
            '': objective,
            'penalty': penalty,
            'student': student_scores.mean(),
            'teacher': teacher_scores.mean(),
        }
        loss = objective + self.penalty_weight * penalty
        return loss, {name: value.detach() for name, value in log_vars.items()}


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Within the block, the module's parameters need no gradient."""
    trained = [
        parameter for parameter in module.parameters() if parameter.requires_grad
    ]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
