"""Base of the registered losses, and what a view tells them about its tensors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from kd_plugins.checks import check_choice, check_float
from kd_plugins.losses._reductions import REDUCTIONS


@dataclass(frozen=True)
class StepData:
    """What a loss may want to know of a training step, beyond what it compares.

    Args:
        inputs: images of the batch, (N, C, H, W), as the student sees them.
        samples: data samples of the batch, as the host hands them out, boxes and all.
        iteration: of the training, from 0; None where nobody tells.
    """

    inputs: Tensor | None = None
    samples: Sequence[Any] = ()
    iteration: int | None = None


@dataclass(frozen=True)
class LossContext:
    """What is known of the tensors a loss compares, beside their values.

    Args:
        pair: name of the pair in the configuration.
        activation: how the head turns these logits into probabilities.
        background: column of the background class, where there is one.
        level: index of the FPN level the tensors come from, in the student.
        teacher_level: likewise in the teacher, where a pair may choose another there.
        stage: index of the cascade's stage.
        teacher_norm: the batch norm that gave the teacher's tensor, or that of a
            residual block to whose output a shortcut was added; None where there is
            none, or it is not known. To be read, not to be kept.
        step: what the pair's losses may know of the training step.
        dry_run: before training, on zeros, to see whether shapes fit: what a loss reads
            from a file need not be there.
    """

    pair: str = ''
    activation: Literal['softmax', 'sigmoid'] | None = None
    background: int | None = None
    level: int | None = None
    teacher_level: int | None = None
    stage: int | None = None
    teacher_norm: nn.Module | None = field(default=None, compare=False, repr=False)
    step: StepData = field(default=StepData(), compare=False, repr=False)
    dry_run: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> 'LossContext':
        # It never changes: a deep copy (an EMA model's) shares the teacher's norm.
        return self


@dataclass(frozen=True)
class AuxiliaryOptimizer:
    """What a loss trains by itself, against or beside the student.

    Args:
        module: whose parameters it trains; the loss itself sees to it that the
            student's step leaves them without gradient.
        optim_wrapper: configuration of its optimiser, as the host's of that name.
        loss: called after the student's step, as often as ``steps`` says: the value to
            step down from, None where there is nothing to learn from, and what to log
            by name.
        steps: for each step of the student, >= 1.
    """

    module: nn.Module
    optim_wrapper: Mapping[str, Any]
    loss: Callable[[], tuple[Tensor | None, dict[str, Tensor]]]
    steps: int = 1


class DistillationLoss(nn.Module):
    """A weighted loss: ``forward(student, teacher, *, ...)``, the teacher detached.

    Of ``target``, ``mask``, ``avg_factor`` and ``context``, a subclass's ``forward``
    names those it needs, keyword-only, and is given only these.

    Args:
        loss_weight: factor of the value, >= 0. A schedule of the pair sets the
            attribute of this name anew at every iteration.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``, over rows.

    Class attributes:
        same_channels: whether it compares channel by channel; else student and teacher
            may have different ones.

    Raises: ConfigError if either is anything else.
    """

    same_channels: ClassVar[bool] = True

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        self.loss_weight = check_float('loss_weight', loss_weight)
        self.reduction = check_choice('reduction', reduction, REDUCTIONS)

    @property
    def needs_target(self) -> bool:
        """Whether a loss that names ``target`` cannot do without it."""
        return True

    def auxiliary_optimizers(self) -> dict[str, AuxiliaryOptimizer]:
        """What it trains by an optimiser of its own, by name; mostly nothing."""
        return {}

    def trained_with_student(self) -> dict[str, nn.Parameter]:
        """Its parameters that the student's optimiser steps, by name."""
        apart = {
            id(parameter)
            for extra in self.auxiliary_optimizers().values()
            for parameter in extra.module.parameters()
        }
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if id(parameter) not in apart
        }


def is_sigmoid(
    use_sigmoid: bool | None, context: LossContext | None, logits: Tensor
) -> bool:
    """Whether the columns of these logits are independent yes-or-no questions.

    Args:
        use_sigmoid: the configuration's answer; it wins.
        context: the view's answer, used next.
        logits: shape (M, K) or (N, K, H, W); without any answer, one column means
            yes.

    Example:
        >>> import torch
        >>> is_sigmoid(None, LossContext(activation='softmax'), torch.zeros(2, 1))
        False
    """
    if use_sigmoid is not None:
        return use_sigmoid
    if context is not None and context.activation is not None:
        return context.activation == 'sigmoid'
    return logits.dim() in (2, 4) and logits.shape[1] == 1
