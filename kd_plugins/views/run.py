"""One pass of a frozen model, as far as the pairs need it."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..recorders import LayerRecorder
from .base import Recorder

REACHES = ('backbone', 'neck', 'heads')
FEATURES = 'features'
Result = TypeVar('Result')


def reach_of(parts: Iterable[str]) -> str:
    """How far a model must run for views that need these parts beyond the backbone."""
    wanted = set(parts)
    if wanted - {'neck'}:
        return 'heads'
    return 'neck' if wanted else 'backbone'


class ModelRun:
    """Features of a model in ``eval()``, and whatever its heads make of them, once.

    Heads run when a view first asks (:meth:`once`): never losses, assigners or NMS.

    Args:
        model: the frozen model.
        inputs: (N, 3, H, W), preprocessed for this model.
        captured: what is attached to it, by capture.
        reach: one of ``REACHES``: how far the features are computed.
        unpadded: height and width of ``inputs`` without the padding that only this
            model's own preprocessing adds at the right and below.
        scale: its input's size over that of the student.

    Attributes:
        features: of its neck, where heads are to read them.
        input_size: height and width of ``inputs``.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        captured: dict[Recorder, Any],
        reach: str,
        unpadded: tuple[int, int] | None = None,
        scale: float = 1.0,
    ) -> None:
        self.model: Any = model
        self.captured = captured
        self.scale = scale
        self._memory: dict[Hashable, Any] = {}
        self._recorded: dict[Hashable, dict[Recorder, Sequence[Tensor]]] = {}
        self.input_size = height, width = tuple(inputs.shape[-2:])
        unpadded = unpadded or (height, width)
        self._kept = (unpadded[0] / height, unpadded[1] / width)
        compute: Any = self.model.extract_feat
        if reach == 'backbone':
            compute = self.model.backbone
        features = self.once(FEATURES, lambda: compute(inputs))
        self.features: Any = features
        if reach != 'heads':
            self.features = self._memory[FEATURES] = None  # frees what no head reads

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Result of ``compute``, run without gradient when first asked for."""
        if key not in self._memory:
            recorders = {
                capture: (recorder, len(recorder.outputs))
                for capture, recorder in self.captured.items()
                if isinstance(recorder, LayerRecorder)
            }
            with torch.no_grad():
                self._memory[key] = compute()
            self._recorded[key] = {
                capture: recorder.outputs[before:]
                for capture, (recorder, before) in recorders.items()
            }
        result: Result = self._memory[key]
        return result

    def recorded(self, capture: Recorder, key: Hashable) -> Sequence[Tensor]:
        """What a layer gave during one computation, other pairs' runs left out."""
        return self._recorded[key][capture]

    def crop(self, feature: Tensor) -> Tensor:
        """Cut off what this model's larger padding added at the right and below."""
        if feature.dim() != 4 or self._kept == (1.0, 1.0):
            return feature
        height, width = (
            math.ceil(round(side * kept, 6))
            for side, kept in zip(feature.shape[-2:], self._kept, strict=True)
        )
        return feature[..., :height, :width]


@contextmanager
def attached(
    model: nn.Module, captures: Iterable[Recorder]
) -> Iterator[dict[Recorder, Any]]:
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


@contextmanager
def norms_frozen(module: nn.Module) -> Iterator[None]:
    """Batch norms in ``eval()``: a second pass must not move running statistics."""
    norms = [
        norm
        for norm in module.modules()
        if isinstance(norm, nn.modules.batchnorm._BatchNorm)
    ]
    modes = [norm.training for norm in norms]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm, mode in zip(norms, modes, strict=True):
            norm.train(mode)
