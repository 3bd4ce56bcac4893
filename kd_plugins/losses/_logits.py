"""Shared by losses of class logits: divergences, standardisation, labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.errors import ConfigError, DistillationError, ShapeError

# The smallest standard deviation that a row is divided by: a smaller one would enlarge
# the noise of the row, in the value and in the gradient.
_STD_EPS = 1e-4


def check_columns(logits: Tensor, use_sigmoid: bool, standardize: bool = False) -> None:
    """Refuse logits that do not fit the options.

    Args:
        logits: rows, shape (M, K).
        use_sigmoid: True: one sigmoid for each column; False: one softmax.
        standardize: whether rows are standardised.

    Raises: ShapeError for softmax over a single column, and for standardised rows of
        fewer than three; ConfigError for standardised logits of a sigmoid.
    """
    columns = logits.shape[1]
    if standardize and use_sigmoid:
        raise ConfigError(
            'standardize needs the logits of one softmax, and these are '
            'independent logits (sigmoid). Remove standardize.'
        )
    if not use_sigmoid and columns < 2:
        raise ShapeError(
            f'softmax over {columns} column is constant, logits are '
            f'{tuple(logits.shape)}. For a sigmoid head set use_sigmoid=True.'
        )
    if standardize and columns < 3:
        raise ShapeError(
            'standardize needs three columns or more, logits are '
            f'{tuple(logits.shape)}: two standardised columns hold only their order. '
            'Remove standardize.'
        )


def standardized(logits: Tensor) -> Tensor:
    r"""Rows of mean 0 and standard deviation 1.

    .. math:: \mathcal{Z}(z) = (z - \bar z) / \sigma_z

    Args:
        logits: shape (M, K), K > 1; the deviation is that of a sample (K - 1), and
            takes a gradient.

    Returns: same shape, no unit; zeros for a constant row.
    Source: Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024,
        https://arxiv.org/abs/2403.01427. Author code:
        https://github.com/sunshangquan/logit-standardization-KD, which adds 1e-7 to the
        deviation; here it is 1e-4 at least, and otherwise exact.

    Example:
        >>> standardized(torch.tensor([[2.0, 1.0, 0.0]]))
        tensor([[ 1.,  0., -1.]])
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True) / (logits.shape[1] - 1)
    return centred / variance.clamp(min=_STD_EPS**2).sqrt()


def softened(logits: Tensor, temperature: float, standardize: bool) -> Tensor:
    """Rows, standardised if ``standardize``, divided by the temperature."""
    return (standardized(logits) if standardize else logits) / temperature


def softmax_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) in nats, of rows (M, K) of logits: shape (M,).

    Example:
        >>> softmax_divergence(torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log())
        tensor([0.1308])
    """
    log_teacher = teacher.log_softmax(dim=1)
    return (log_teacher.exp() * (log_teacher - student.log_softmax(dim=1))).sum(dim=1)


def bernoulli_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) in nats, of sigmoid logits, one by one: same shape.

    Example:
        >>> bernoulli_divergence(torch.tensor([1.0]), torch.tensor([2.0]))
        tensor([0.0671])
    """
    yes = F.logsigmoid(teacher) - F.logsigmoid(student)
    no = F.logsigmoid(-teacher) - F.logsigmoid(-student)
    return teacher.sigmoid() * yes + (-teacher).sigmoid() * no


def label_rows(target: Tensor | None, shape: torch.Size, loss: str) -> Tensor:
    """Labels as rows (M,); of maps one for each pixel.

    Args:
        target: shape (M,), or (N, H, W) of maps.
        shape: of the logits, (M, K) or (N, K, H, W).
        loss: name of the loss, for messages.

    Raises: ShapeError for no labels, or another shape.

    Example:
        >>> label_rows(torch.ones(2, 4, 8), torch.Size([2, 19, 4, 8]), 'DKD').shape
        torch.Size([64])
    """
    size = (shape[0], *shape[2:])
    if target is None or target.shape != size:
        got = 'none' if target is None else tuple(target.shape)
        raise ShapeError(
            f'{loss} needs a label for each row, {size}, as target, got {got}. Use a '
            "view that gives labels: 'roi.logits', 'rpn.logits', 'head.logits' or "
            "'seg.logits'."
        )
    return target.flatten()


def class_numbers(labels: Tensor, highest: int) -> Tensor:
    """The labels as whole numbers from 0 to ``highest``.

    Args:
        labels: shape (M,), dropped rows 0.
        highest: the highest valid label.

    Raises: DistillationError for another label, except on a GPU: there torch raises,
        and a check would wait for the device at every step.
    """
    numbers = labels.long()
    if not numbers.is_cuda:
        wrong = (numbers < 0) | (numbers > highest)
        if wrong.any():
            raise DistillationError(
                f'target holds the label {int(numbers[wrong][0])}, and these logits '
                f'know 0 to {highest}. Mask rows that have no label, or correct '
                'num_classes of the head.'
            )
    return numbers


def split_target(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (M,) of the labelled classes, and those (M, K - 1) of the other classes.

    Example:
        >>> split_target(torch.tensor([[5.0, 6.0, 7.0]]), torch.tensor([1]))
        (tensor([6.]), tensor([[5., 7.]]))
    """
    labelled = labels[:, None]
    others = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = others + (others >= labelled)
    return logits.gather(1, labelled).squeeze(1), logits.gather(1, others)
