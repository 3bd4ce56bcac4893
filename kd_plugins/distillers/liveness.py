"""Whether a loss can reach the student, and copies of modules to try it with."""

import copy

from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge

from ..errors import DistillationError


def check_alive(student: Tensor, value: Tensor, name: str, loss: str, key: str) -> None:
    """Refuse a loss that gives the student no gradient.

    The graph is followed, and no gradient computed: layers that exchange statistics
    over the processes (SyncBN) would wait in their backward pass for processes that
    had their check in another step.

    Args:
        student: its tensor, as the pair compares it.
        value: of the loss.
        name: of the student's tensor, for messages.
        loss: name of the loss's class.
        key: of the pair, for messages.

    Raises: DistillationError.
    """
    if not student.requires_grad:
        raise DistillationError(
            f'{name} of the student carries no gradient: it is frozen '
            '(frozen_stages, requires_grad), or lies in a block with activation '
            'checkpointing (with_cp). Choose a layer that trains.'
        )
    if not depends_on(value, student):
        raise DistillationError(
            f'{loss} gives no gradient to {name} of the student. Change loss or '
            f'adapter of {key}.'
        )


def depends_on(value: Tensor, tensor: Tensor) -> bool:
    """Whether a backward pass from a value would reach a tensor that wants a gradient.

    Example:
        >>> import torch
        >>> weight = torch.ones(2, requires_grad=True)
        >>> depends_on(weight.exp().sum(), weight), depends_on(weight.detach(), weight)
        (True, False)
    """
    if not value.requires_grad:
        return False
    start, wanted = get_gradient_edge(value), get_gradient_edge(tensor)
    edges: list[tuple[Node | None, int]] = [(start.node, start.output_nr)]
    # Held, not only counted: torch makes a node's Python object anew once it is gone.
    seen: set[Node] = set()
    while edges:
        node, number = edges.pop()
        if node is wanted.node and number == wanted.output_nr:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            edges += node.next_functions
    return False


def copied(*modules: nn.Module | None) -> tuple[nn.Module | None, ...]:
    """Deep copies, also of modules whose weights are parts of another tensor.

    While a sharded model (FSDP) runs, its weights are views of what was gathered, which
    Python's deep copy refuses.

    Args:
        modules: to copy; None stays.
    """
    views = {
        id(tensor): tensor.detach().clone().requires_grad_()
        for module in modules
        if module is not None
        for part in module.modules()
        for tensor in vars(part).values()
        if isinstance(tensor, Tensor) and tensor.grad_fn is not None
    }
    return copy.deepcopy(modules, views)
