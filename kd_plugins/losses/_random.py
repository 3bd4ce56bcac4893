"""Random numbers of a run on several processes."""

import torch
import torch.distributed as dist
from torch import Tensor


def own_part_of_random(*shape: int, device: torch.device) -> Tensor:
    """Numbers between 0 and 1: of those drawn for all processes, this one's.

    The streams of the processes are the same, so that what they learn stays the same;
    their rows are not, and each gets numbers of its own: those that one process would
    draw for all the rows.

    Args:
        shape: of this process's numbers, rows first.
        device: where they are drawn.

    Example:
        >>> own_part_of_random(2, 1, 3, device=torch.device('cpu')).shape
        torch.Size([2, 1, 3])
    """
    rank, ranks = 0, 1
    if dist.is_available() and dist.is_initialized():
        rank, ranks = dist.get_rank(), dist.get_world_size()
    rows, *rest = shape
    drawn = torch.rand(ranks * rows, *rest, device=device)
    return drawn[rank * rows : (rank + 1) * rows]
