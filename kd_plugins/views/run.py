"""One pass of a frozen model, as far as the pairs need it."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .base import Capture

REACHES = ('backbone', 'neck', 'heads')
Result = TypeVar('Result')


class ModelRun:
    """Features of a model in ``eval()``, and whatever its heads make of them, once.

    Heads run when a view first asks (:meth:`once`): never losses, assigners or NMS.

    Attributes:
        model: the frozen model.
        features: of its neck (of its backbone where no pair needs more).
        scale: its input's size over that of the student.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        captured: dict[Capture, Any],
        reach: str,
        unpadded: tuple[int, int] | None = None,
        scale: float = 1.0,
    ) -> None:
        self.model: Any = model
        self.captured = captured
        self.scale = scale
        self._memory: dict[Hashable, Any] = {}
        height, width = inputs.shape[-2:]
        unpadded = unpadded or (height, width)
        self._kept = (unpadded[0] / height, unpadded[1] / width)
        with torch.no_grad():
            features = (
                self.model.backbone(inputs)
                if reach == 'backbone'
                else self.model.extract_feat(inputs)
            )
        self.features: Any = features if reach == 'heads' else None

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Result of ``compute``, run without gradient the first time it is asked for."""
        if key not in self._memory:
            with torch.no_grad():
                self._memory[key] = compute()
        result: Result = self._memory[key]
        return result

    def crop(self, feature: Tensor) -> Tensor:
        """Cut off what this model's own, larger padding added at the right and below."""
        if feature.dim() != 4 or self._kept == (1.0, 1.0):
            return feature
        height, width = (
            math.ceil(round(side * kept, 6))
            for side, kept in zip(feature.shape[-2:], self._kept, strict=True)
        )
        return feature[..., :height, :width]


@contextmanager
def attached(
    model: nn.Module, captures: Iterable[Capture]
) -> Iterator[dict[Capture, Any]]:
    """Attach each capture once; yields what holds the captured tensors, by capture."""
    with ExitStack() as stack:
        yield {
            capture: stack.enter_context(capture.open(model))
            for capture in dict.fromkeys(captures)
        }


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Run a model in ``eval()`` without gradient; its modes come back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
