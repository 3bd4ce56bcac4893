"""One pass of a model: what was recorded of it, and what its parts gave, once."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..host_types import HostModule, Samples
from ..quantizers import frozen_ranges
from ..recorders import LayerRecord, LayerRecorder, Records
from ..teachers.fast_copy import FastModel, handed_over

RUN_UNTIL = ('backbone', 'neck', 'heads')
FEATURES = 'features'
PROPOSALS = 'proposals'
Result = TypeVar('Result')


def run_until(parts: Iterable[str]) -> str:
    """How far a model must run for views that need these parts beyond the backbone."""
    wanted = set(parts)
    if wanted - {'neck'}:
        return 'heads'
    return 'neck' if wanted else 'backbone'


class ModelRun:
    """One model on one batch.

    Args:
        model: which one.
        records: what was recorded while it ran.
        batch_size: N, of the images it was given.
    """

    def __init__(self, model: HostModule, records: Records, batch_size: int) -> None:
        self.model = model
        self.records = records
        self.batch_size = batch_size
        self._results: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Result of ``compute``, shared by the pairs that ask for it."""
        if key not in self._results:
            self._results[key] = compute()
        result: Result = self._results[key]
        return result


class FrozenRun(ModelRun):
    """A model in ``eval()``, without gradient: its features, and what its heads give.

    Heads run when a view first asks (:meth:`once`): never losses, assigners or NMS.

    Args:
        model: the frozen model.
        records: of what is attached to it.
        inputs: (N, C, H, W), preprocessed for this model.
        unpadded: height and width of ``inputs`` without the padding that only this
            model's own preprocessing adds at the right and below.
        scale: its input's size over that of the student.
        samples: data samples of the batch, preprocessed for the student.
        gradient: whether its tensors carry a graph: so a dry run sees which of them
            train.
        fast: the copy that runs in the place of ``model``, and is recorded instead.

    Attributes:
        model: what runs, and is recorded: the model, or its fast copy.
        exact: the model, for what must be computed with a gradient.
        features: of its neck, where heads are to read them; None before they ran.
        heads: what was computed beyond the features, in order, to be computed again
            where its cost is measured.
        input_size: height and width of ``inputs``.
    """

    def __init__(
        self,
        model: HostModule,
        records: Records,
        inputs: Tensor,
        unpadded: tuple[int, int] | None = None,
        scale: float = 1.0,
        samples: Samples = (),
        gradient: bool = False,
        fast: FastModel | None = None,
    ) -> None:
        super().__init__(model if fast is None else fast.model, records, len(inputs))
        self.exact = model
        self._fast = fast
        self._device = inputs.device
        self._gradient = gradient
        self.scale = scale
        self._samples = samples
        self.features: Any = None
        self.heads: list[Callable[[], Any]] = []
        self._inputs: Tensor | None = inputs
        self._recorded: dict[Hashable, dict[LayerRecorder, list[Tensor]]] = {}
        self.input_size = height, width = tuple(inputs.shape[-2:])
        unpadded = unpadded or (height, width)
        self._kept = (unpadded[0] / height, unpadded[1] / width)

    def image_sizes(self) -> list[tuple[int, int]]:
        """Height and width of each image in its input, without padding."""
        if not self._samples:  # all of it is image
            height, width = self.input_size
            return [(height, width)] * self.batch_size
        shapes = [sample.metainfo['img_shape'] for sample in self._samples]
        return [
            (round(shape[0] * self.scale), round(shape[1] * self.scale))
            for shape in shapes
        ]

    def compute_features(self, until: str) -> None:
        """Run the model once, as far as one of ``RUN_UNTIL``."""
        inputs, self._inputs = self._inputs, None
        compute: Any = self.model.extract_feat
        if until == 'backbone':
            compute = self.model.backbone
        features = self.once(FEATURES, lambda: compute(inputs))
        if until == 'heads':
            self.features = features
        else:
            self._results[FEATURES] = None  # frees what no head reads

    def once(
        self, key: Hashable, compute: Callable[[], Result], per_image: bool = True
    ) -> Result:
        """Result of ``compute``, run when first asked for.

        Args:
            key: of the computation, the same in every step.
            compute: reads the model, and ``features`` if it needs them.
            per_image: whether it gives a tensor, or nested sequences of tensors, with a
                row for each image that depends on that image alone: so a cache may hold
                it.
        """
        if key not in self._results:
            before = {
                recorder: (record, len(record.outputs))
                for recorder, record in self.records.items()
                if isinstance(recorder, LayerRecorder)
                and isinstance(record, LayerRecord)
            }
            result = self._compute(compute)
            if key != FEATURES:
                self.heads.append(partial(self._compute, compute))
                result = self._handed_over(result)
            self._results[key] = result
            self._recorded[key] = {
                recorder: self._handed_over(record.outputs[start:])
                for recorder, (record, start) in before.items()
            }
        kept: Result = self._results[key]
        return kept

    def _compute(self, compute: Callable[[], Result]) -> Result:
        running = (
            nullcontext() if self._fast is None else self._fast.running(self._device)
        )
        with torch.set_grad_enabled(self._gradient), running:
            return compute()

    def _handed_over(self, result: Result) -> Result:
        """What views read is float32, whatever the fast copy computes in."""
        return result if self._fast is None else handed_over(result)

    def exactly(self) -> AbstractContextManager[Any]:
        """The block in which a view runs :attr:`exact` by itself."""
        if self._fast is None:
            return nullcontext()
        return torch.autocast(self._device.type, enabled=False)

    def take_proposals(self, other: 'FrozenRun') -> None:
        """Let views compare RoIs that another run of this teacher proposed."""
        for key, result in other._results.items():
            if isinstance(key, tuple) and key[0] == PROPOSALS:
                self._results[key] = result

    def recorded(self, recorder: LayerRecorder, key: Hashable) -> Sequence[Tensor]:
        """What a layer gave during one computation, other pairs' runs left out."""
        return self._recorded[key][recorder]

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
def frozen(model: nn.Module, gradient: bool = False) -> Iterator[None]:
    """Run a model in ``eval()``; its modes come back afterwards.

    Args:
        model: any.
        gradient: whether what it gives carries a graph.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.set_grad_enabled(gradient):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def norms_frozen(module: nn.Module) -> Iterator[None]:
    """Batch norms in ``eval()``: a second pass must not move running statistics.

    Nor the ranges of a quantised model.
    """
    norms = [
        norm
        for norm in module.modules()
        if isinstance(norm, nn.modules.batchnorm._BatchNorm)
    ]
    modes = [norm.training for norm in norms]
    for norm in norms:
        norm.eval()
    try:
        with frozen_ranges():
            yield
    finally:
        for norm, mode in zip(norms, modes, strict=True):
            norm.train(mode)
