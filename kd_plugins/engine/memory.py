"""Whether a GPU has room for what is no part of the training."""

import torch
from mmengine.dist import all_reduce
from torch import nn


def has_room_for_copy(model: nn.Module, peak: int) -> bool:
    """Whether a copy of a model can take a step beside it; the same on all ranks.

    All processes must call it. On a CPU it is always true.

    Args:
        model: on its device.
        peak: most bytes that the training has held on the device.
    """
    parameters = list(model.parameters())
    device = parameters[0].device
    if device.type != 'cuda':
        return True
    copied = sum(each.numel() * each.element_size() for each in parameters)
    held = torch.cuda.memory_allocated(device)
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - held  # cached
    # A step's activations, all of which stay until the last backward pass; the copy and
    # its gradients; a tenth for what lies scattered.
    needed = 1.1 * (max(peak - held, 0) + 2 * copied)
    room = torch.tensor(float(free > needed), device=device)
    all_reduce(room, op='min')
    return bool(room)
