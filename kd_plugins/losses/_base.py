"""Base of the registered losses, and what a view tells them about its tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from kd_plugins.losses._common import REDUCTIONS, check_choice, check_number


@dataclass(frozen=True)
class LossContext:
    """What is known of the tensors a loss compares, beside their values.

    Args:
        pair: name of the pair in the configuration.
        activation: how the head turns these logits into probabilities.
        background: column of the background class, where there is one.
        level: index of the FPN level the tensors come from.
        stage: index of the cascade's stage.
        stride: pixels of the student's input between two cells of a map.
        data_samples: of the batch, as the host hands them out, boxes and all.
    """

    pair: str = ''
    activation: Literal['softmax', 'sigmoid'] | None = None
    background: int | None = None
    level: int | None = None
    stage: int | None = None
    stride: int | None = None
    data_samples: Sequence[Any] = field(default=(), compare=False, repr=False)


class DistillationLoss(nn.Module):
    """A weighted loss: ``forward(student, teacher, *, ...)``, the teacher detached.

    Of ``target``, ``mask``, ``avg_factor`` and ``context``, a subclass's ``forward``
    names those it needs, keyword-only, and is given only these.

    Args:
        loss_weight: factor of the value, >= 0. A schedule of the pair sets the
            attribute of this name anew at every iteration.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``, over rows.

    Raises: ConfigError if either is anything else.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        self.loss_weight = check_number('loss_weight', loss_weight)
        self.reduction = check_choice('reduction', reduction, REDUCTIONS)


def is_sigmoid(
    use_sigmoid: bool | None, context: LossContext | None, logits: Tensor
) -> bool:
    """Whether the columns of these logits are independent yes-or-no questions.

    Args:
        use_sigmoid: the configuration's answer; it wins.
        context: the view's answer, used next.
        logits: shape (M, K); without any answer, one column means yes.

    Example:
        >>> import torch
        >>> is_sigmoid(None, LossContext(activation='softmax'), torch.zeros(2, 1))
        False
    """
    if use_sigmoid is not None:
        return use_sigmoid
    if context is not None and context.activation is not None:
        return context.activation == 'sigmoid'
    return logits.dim() == 2 and logits.shape[1] == 1
