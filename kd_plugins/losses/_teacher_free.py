"""Shared by losses without a teacher: rows of labelled logits, and the rows kept."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kd_plugins.checks import check_mask, check_same_shape
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import LossContext
from kd_plugins.losses._logits import check_columns, label_rows
from kd_plugins.losses._reductions import COUNT_EPS, pixel_rows


@dataclass(frozen=True)
class LabelledRows:
    """Class logits of one model, a row for each RoI or pixel.

    Args:
        logits: shape (M, K).
        labels: shape (M,), as given.
        mask: shape (M,), 1 keeps and 0 drops a row; None keeps all.
    """

    logits: Tensor
    labels: Tensor
    mask: Tensor | None


def labelled_rows(
    logits: Tensor,
    target: Tensor | None,
    mask: Tensor | None,
    name: str,
    *,
    use_sigmoid: bool = False,
) -> LabelledRows:
    """Logits (M, K), or maps (N, K, H, W) whose pixels are rows, with their labels.

    Args:
        logits: of the student.
        target: labels, shape (M,) or (N, H, W).
        mask: likewise; None keeps all.
        name: of the method, for messages.
        use_sigmoid: whether each column has a sigmoid of its own.

    Raises: ShapeError for another shape of one of them, without target, and for a
        softmax over a single column.
    """
    check_same_shape(logits, logits, layout='MK|NKHW')
    labels = label_rows(target, logits.shape, name)
    rows, _, mask = pixel_rows(logits, logits, mask)
    check_columns(rows, use_sigmoid)
    if mask is not None:
        check_mask(mask, len(rows))
    return LabelledRows(rows, labels, mask)


def feature_rows(features: Tensor | None, logits: Tensor, name: str) -> Tensor:
    """What the student knows of each row of its logits, as rows (M, D).

    Args:
        features: shape (M, D), or maps (N, D, H, W).
        logits: of the same rows, shape (M, K), or maps (N, K, H, W).
        name: of the argument, for messages.

    Raises: ShapeError for other rows or pixels, and without features.

    Example:
        >>> feature_rows(torch.zeros(2, 8, 3, 4), torch.zeros(2, 5, 3, 4), 'x').shape
        torch.Size([24, 8])
    """
    size = (len(logits), *logits.shape[2:])
    if features is None or (len(features), *features.shape[2:]) != size:
        got = 'none' if features is None else tuple(features.shape)
        raise ShapeError(
            f'{name} must be of the rows or pixels {size} of the logits, got {got}. In '
            "a pair use view='roi.logits' or 'seg.logits', which give them."
        )
    return features if features.dim() == 2 else features.movedim(1, -1).flatten(0, -2)


def check_softmax(context: LossContext | None, name: str) -> None:
    """Refuse logits of a sigmoid each, for a loss of one softmax over all classes.

    Raises: ConfigError naming views of softmax logits.
    """
    if context is not None and context.activation == 'sigmoid':
        raise ConfigError(
            f'{name} needs the logits of one softmax, and these are independent logits '
            "(sigmoid). Use a view of softmax logits, such as 'roi.logits' or "
            "'seg.logits', or loss=dict(type='TfNKDLoss')."
        )


def background_of(context: LossContext | None, with_background: bool) -> int | None:
    """Column of the background, whose rows are left out; None: no row is."""
    return None if context is None or with_background else context.background


def kept_weights(
    labels: Tensor, mask: Tensor | None, background: int | None
) -> Tensor | None:
    """The mask without the rows of the background; None keeps all rows.

    Args:
        labels: whole numbers, shape (M,).
        mask: shape (M,).
        background: its label.
    """
    if background is None:
        return mask
    foreground = (labels != background).float()
    return foreground if mask is None else mask * foreground


def mean_of_kept(values: Tensor, kept: Tensor | None) -> Tensor:
    """Mean (a scalar) of values (M,) over the rows kept; 0 without any."""
    if kept is None:
        return values.sum() / max(len(values), 1)
    return (values * kept).sum() / kept.sum().clamp(min=COUNT_EPS)


def share_of_count(
    avg_factor: float | Tensor | None, kept: Tensor | None, mask: Tensor | None
) -> float | Tensor | None:
    """The count to divide by, where a loss keeps fewer rows than its view.

    Args:
        avg_factor: rows of the view, averaged over the ranks; None: those kept.
        kept: weights of the rows that the loss keeps.
        mask: of the view.

    Returns: as many as the loss keeps of them: the weight of a process is then its
        share of the view's rows.
    """
    if avg_factor is None or kept is None or kept is mask:
        return avg_factor
    count = float(len(kept)) if mask is None else mask.sum()
    count = torch.as_tensor(count, device=kept.device).clamp(min=COUNT_EPS)
    return avg_factor * kept.sum() / count
