"""Random streams of target transforms, apart from everything else that draws."""

import hashlib

import torch
import torch.distributed as dist

from kd_plugins.losses import LossContext


def stream_of(
    context: LossContext, device: torch.device, *places: int | None
) -> torch.Generator:
    """A generator for one step of one pair, other on each process.

    It depends on the pair's name, the iteration and the rank, and on nothing that was
    drawn before: no other draw shifts, and a resumed run draws what the uninterrupted
    one would have. Where the iteration is not known, it is seeded by torch's generator
    instead, by one number that all processes draw alike.

    Args:
        context: of the view, with the step.
        device: where the numbers are drawn.
        places: what else tells draws apart, such as the level of a pair.
    """
    iteration = context.step.iteration
    if iteration is None:
        iteration = int(torch.randint(2**62, ()))
    rank = 0
    if dist.is_available() and dist.is_initialized():
        rank = dist.get_rank()
    words = repr((context.pair, iteration, rank, *places)).encode()
    seed = int.from_bytes(hashlib.sha256(words).digest()[:8], 'little')
    # torch's generator of the CPU takes 32 bits of it, that of a GPU all.
    return torch.Generator(device).manual_seed(seed % 2**63)
