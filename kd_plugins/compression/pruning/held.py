"""What keeps its channels while a model is pruned: outputs, and closed layers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...host_types import HostModule
from .trace import trace


class Held(nn.Module):
    """Stands behind an output, whose channels stay."""

    channels: int | None = None

    def forward(self, output: Tensor) -> Tensor:
        self.channels = output.shape[1] if output.dim() > 1 else None
        return output * 1.0


class HeldOutputs(nn.Module):
    """A model that gives, of images, all tensors whose channels stay.

    Args:
        model: to be pruned.
        images: (1, 3, H, W), preprocessed, of which some outputs are traced once.
    """

    def __init__(self, model: HostModule, images: Tensor) -> None:
        super().__init__()
        self.model = model
        with torch.enable_grad():
            outputs = self._outputs(images)
        self.held = nn.ModuleList(Held() for _ in outputs)

    def _outputs(self, images: Tensor) -> list[Tensor]:
        outputs = trace(self.model, images).outputs
        return [each for each in outputs if each.requires_grad]  # priors have none

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs = self._outputs(images)
        # Behind them stand the ends of layers that are closed.
        return [held(each) for held, each in zip(self.held, outputs, strict=False)]


@contextmanager
def closed(layers: Sequence[nn.Module]) -> Iterator[list[Held]]:
    """Within, layers give what they give, but no trace leads through them.

    Yields: what stands before and behind each, whose channels stay.
    """
    ends: list[Held] = []
    for layer in layers:
        before, behind = Held(), Held()
        ends += [before, behind]
        # On this copy of the model alone.
        vars(layer)['forward'] = partial(_run_closed, layer.forward, before, behind)
    try:
        yield ends
    finally:
        for layer in layers:
            del vars(layer)['forward']


def _run_closed(
    forward: Any, before: Held, behind: Held, *inputs: Any, **options: Any
) -> Any:
    with torch.no_grad():
        output = forward(*inputs, **options)
    # The inputs are still needed, though for nothing.
    ties = [before(each).mean() for each in inputs if _learns(each)]
    tie = torch.stack(ties).sum() * 0 if ties else None

    def opened(content: Any) -> Any:
        if isinstance(content, (list, tuple)):
            return type(content)(opened(item) for item in content)
        if not isinstance(content, Tensor) or not content.is_floating_point():
            return content
        start = content.detach().requires_grad_() if tie is None else content + tie
        return behind(start)

    return opened(output)


def _learns(content: object) -> bool:
    return isinstance(content, Tensor) and content.requires_grad
