"""Random numbers of a run on several processes."""

import torch
import torch.distributed as dist
from torch import Tensor


def random_of_rank(*shape: int, device: torch.device) -> Tensor:
    """Numbers between 0 and 1 for the rows of this process.

    The random streams of the processes are equal, and their rows differ. Each process
    draws the numbers of all rows and takes its part, so several processes use the same
    numbers as one process with all rows.

    Args:
        shape: of this process's numbers, rows first.
        device: of the random stream and the numbers.

    Example:
        >>> random_of_rank(2, 1, 3, device=torch.device('cpu')).shape
        torch.Size([2, 1, 3])
    """
    rank, ranks = 0, 1
    if dist.is_available() and dist.is_initialized():
        rank, ranks = dist.get_rank(), dist.get_world_size()
    rows, *rest = shape
    drawn = torch.rand(ranks * rows, *rest, device=device)
    return drawn[rank * rows : (rank + 1) * rows]
