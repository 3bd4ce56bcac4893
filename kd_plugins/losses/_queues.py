"""Memories of embeddings by class, and their exchange between ranks."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import unit_vectors


class ClassQueues(nn.Module):
    """The last embeddings of each class, first in, first out.

    Buffers: ``rows`` (K, S, D), random vectors of length 1 in slots that are still
    empty, and ``written`` (K,), the number of embeddings pushed so far. They are saved
    and resumed.

    Args:
        num_classes: K.
        size: S, slots of a class.
        dims: D of an embedding.
    """

    rows: Tensor
    written: Tensor

    def __init__(self, num_classes: int, size: int, dims: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer('rows', unit_vectors(torch.randn(num_classes, size, dims)))
        self.register_buffer('written', torch.zeros(num_classes, dtype=torch.long))

    @torch.no_grad()
    def push(self, rows: Tensor, labels: Tensor) -> None:
        """Add embeddings in their order; of more than the slots, the last remain.

        Args:
            rows: shape (M, D).
            labels: class of each, shape (M,), below K.
        """
        ones = torch.ones_like(labels)
        counts = torch.zeros_like(self.written).index_add_(0, labels, ones)
        index = index_in_group(labels)
        stay = index >= (counts - self.size)[labels]
        slots = (self.written[labels] + index) % self.size
        self.rows[labels[stay], slots[stay]] = rows[stay].to(self.rows)
        self.written += counts

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Random embeddings of the memory.

        Returns: copies (M, D), M = min(count, K S), and their classes (M,), -1 for a
            slot that is still empty.
        """
        slots = torch.arange(self.size, device=self.rows.device)
        index, valid = draw((slots < self.written[:, None]).flatten(), count)
        labels = (index // self.size).masked_fill(~valid, -1)
        return self.rows.flatten(0, 1)[index], labels

    def draw_slots(self, count: int) -> Tensor:
        """Random slots, the same of each class: copies (K min(count, S), D)."""
        slots = torch.randperm(self.size, device=self.rows.device)[:count]
        return self.rows[:, slots].flatten(0, 1)


def index_in_group(groups: Tensor) -> Tensor:
    """For each entry, the number of earlier entries of the same group.

    Example:
        >>> index_in_group(torch.tensor([4, 7, 4, 4, 7]))
        tensor([0, 0, 1, 2, 1])
    """
    order = groups.argsort(stable=True)
    ordered = groups[order].contiguous()
    indices = torch.empty_like(groups)
    first = torch.searchsorted(ordered, ordered)
    indices[order] = torch.arange(len(groups), device=groups.device) - first
    return indices


def draw(valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Random entries of the last dimension, without replacement, valid ones first.

    Args:
        valid: bool, shape (..., n).
        count: number of entries; more than n means all.

    Returns: their indices, shape (..., min(count, n)), and whether each is valid.
    """
    number = valid.shape[-1]
    if count >= number:
        return torch.arange(number, device=valid.device).expand(valid.shape), valid
    # The count of random numbers does not depend on ``valid``: the random streams of
    # the ranks stay equal.
    keys = torch.rand(valid.shape, device=valid.device).masked_fill(~valid, -1.0)
    keys, index = keys.topk(count, dim=-1)
    return index, keys >= 0


def learns(loss: DistillationLoss) -> bool:
    """Whether a call updates a memory: in training, with gradients, weight > 0."""
    return loss.training and torch.is_grad_enabled() and loss.loss_weight > 0


def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Rows of all ranks, in the order of the ranks; of one process its own.

    Args:
        tensors: with the same number of rows, which may differ between ranks.
    """
    ranks = _ranks()
    if ranks == 1:
        return tensors
    count = torch.tensor([len(tensors[0])], device=tensors[0].device)
    counts = [torch.empty_like(count) for _ in range(ranks)]
    dist.all_gather(counts, count)
    lengths = torch.cat(counts).tolist()
    if not any(lengths):
        return tensors
    gathered = []
    for tensor in tensors:
        padded = tensor.new_zeros((max(lengths), *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in range(ranks)]
        dist.all_gather(parts, padded)
        kept = [part[:length] for part, length in zip(parts, lengths, strict=True)]
        gathered.append(torch.cat(kept))
    return tuple(gathered)


def mean_over_ranks(count: Tensor) -> Tensor:
    """Mean of the counts of the ranks.

    With it as the divisor, the mean over ranks is the mean over all their rows.
    """
    ranks = _ranks()
    if ranks == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total)
    return total / ranks


def _ranks() -> int:
    ready = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if ready else 1
