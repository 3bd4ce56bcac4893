"""Dark knowledge with permuted predictions, of Furlanello et al. 2018."""

from dataclasses import replace

import torch
from torch import Tensor

from kd_plugins.errors import ShapeError
from kd_plugins.losses import LossContext
from kd_plugins.registry import TARGET_TRANSFORMS
from kd_plugins.target_transforms._base import ComparedRows, TargetTransform
from kd_plugins.target_transforms._random import stream_of


def permuted_logits(logits: Tensor, order: Tensor) -> Tensor:
    """The highest logit of each row in its place, the others in another order.

    A softmax, or a sigmoid each, permutes the probabilities alike.

    Args:
        logits: shape (M, K), or maps (N, K, H, W) whose pixels are rows.
        order: a permutation of 0 to K - 2 for each row, shape (M, K - 1) or (N, K - 1,
            H, W): the first of the other classes takes the logit of that number among
            them.

    Returns: same shape as the logits.
    Raises: ShapeError for another shape of the order.
    Source: Furlanello et al., Born-Again Neural Networks, ICML 2018,
        https://arxiv.org/abs/1805.04770 (DKPP).

    Example:
        >>> logits, order = torch.tensor([[1.0, 7.0, 2.0]]), torch.tensor([[1, 0]])
        >>> permuted_logits(logits, order)
        tensor([[2., 7., 1.]])
    """
    shape = (len(logits), logits.shape[1] - 1, *logits.shape[2:])
    if order.shape != shape:
        raise ShapeError(f'order must be {shape}, got {tuple(order.shape)}.')
    highest = logits.argmax(dim=1, keepdim=True)
    others = torch.arange(shape[1], device=logits.device)
    others = others.view(1, -1, *[1] * (logits.dim() - 2))
    others = others + (others >= highest)  # classes of the others, in their order
    return logits.scatter(1, others, logits.gather(1, others.gather(1, order)))


@TARGET_TRANSFORMS.register_module()
class DKPPTransform(TargetTransform):
    """The teacher's highest logit of each row stays, the others are permuted.

    By it the paper asks what the other classes teach beyond how sure the teacher is of
    the first. Drawn anew for each row at each step (the paper does not say); the
    background is permuted as any class. With two classes nothing changes. The stream is
    the pair's own, and other on each process.
    """

    def __call__(self, rows: ComparedRows, context: LossContext) -> ComparedRows:
        """The rows with the teacher's logits permuted."""
        teacher = rows.teacher.detach()
        if teacher.shape[1] < 3:
            return rows
        stream = stream_of(context, teacher.device, context.level, context.stage)
        others = (len(teacher), teacher.shape[1] - 1, *teacher.shape[2:])
        keys = torch.rand(others, generator=stream, device=stream.device)
        changed = permuted_logits(teacher, keys.argsort(dim=1))
        return replace(rows, teacher=changed)
