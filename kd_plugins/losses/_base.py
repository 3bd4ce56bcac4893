"""Base of the registered losses, and what a view knows of its tensors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from kd_plugins.checks import check_choice, check_float
from kd_plugins.losses._reductions import REDUCTIONS


@dataclass(frozen=True)
class StepData:
    """The training step, as a loss sees it beside the tensors that it compares.

    Args:
        inputs: images of the batch, (N, C, H, W), as the student sees them.
        samples: data samples of the batch, as the host gives them, with boxes.
        iteration: of the training, from 0; None: unknown.
    """

    inputs: Tensor | None = None
    samples: Sequence[Any] = ()
    iteration: int | None = None


@dataclass(frozen=True)
class LossContext:
    """What a view knows of the tensors that a loss compares, beside their values.

    Args:
        pair: name of the pair in the configuration.
        activation: how the head turns these logits into probabilities.
        background: column of the background class; None: there is none.
        level: index of the FPN level that the student's tensor comes from.
        teacher_level: index of the teacher's level; a pair may choose another one.
        stage: index of the cascade's stage.
        teacher_norm: the batch norm whose output is the teacher's tensor, or the last
            one of a residual block; None: there is none, or the view does not know it.
            A loss reads it and does not keep it.
        step: the training step.
        dry_run: the check of shapes before training, on zeros: a file that the loss
            reads may be absent.
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
    """A module that a loss trains by an optimiser of its own.

    Args:
        module: its parameters are trained; the loss keeps the student's step from
            giving them a gradient.
        optim_wrapper: configuration of the optimiser, as the host's of that name.
        loss: called ``steps`` times after the student's step. It returns the value to
            minimise, or None without data, and the log variables by name.
        steps: for each step of the student, >= 1.
    """

    module: nn.Module
    optim_wrapper: Mapping[str, Any]
    loss: Callable[[], tuple[Tensor | None, dict[str, Tensor]]]
    steps: int = 1


class DistillationLoss(nn.Module):
    """A weighted loss: ``forward(student, teacher, *, ...)``, the teacher detached.

    Of ``target``, ``mask``, ``avg_factor`` and ``context``, the ``forward`` of a
    subclass names those that it needs, keyword-only. It receives only these. One that
    names no ``teacher`` needs none, and may name what the student knows of the same
    rows: ``features``, what their classifier reads, or ``early_features``.

    Args:
        loss_weight: factor of the value, >= 0. A schedule of the pair sets the
            attribute of this name at every iteration.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``, over rows.

    Class attributes:
        same_channels: whether student and teacher must have the same channels.
        same_activation: whether both must turn logits into probabilities in the same
            way, where a view compares logits.

    Raises: ConfigError for another value of either argument.
    """

    same_channels: ClassVar[bool] = True
    same_activation: ClassVar[bool] = True

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        self.loss_weight = check_float('loss_weight', loss_weight)
        self.reduction = check_choice('reduction', reduction, REDUCTIONS)

    @property
    def needs_target(self) -> bool:
        """Whether a loss that names ``target`` requires it."""
        return True

    def auxiliary_optimizers(self) -> dict[str, AuxiliaryOptimizer]:
        """What the loss trains by an optimiser of its own, by name; default nothing."""
        return {}

    def trained_with_student(self) -> dict[str, nn.Parameter]:
        """The parameters that the student's optimiser trains, by name."""
        auxiliary = {
            id(parameter)
            for optimizer in self.auxiliary_optimizers().values()
            for parameter in optimizer.module.parameters()
        }
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if id(parameter) not in auxiliary
        }


def is_sigmoid(
    use_sigmoid: bool | None, context: LossContext | None, logits: Tensor
) -> bool:
    """Whether each column of these logits has a sigmoid of its own.

    Args:
        use_sigmoid: as configured; it has priority.
        context: its ``activation`` comes next.
        logits: shape (M, K) or (N, K, H, W); without both, a single column means yes.

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
