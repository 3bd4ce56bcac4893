"""A recorder of layers, by dotted name."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from ..errors import DistillationError
from .base import Recorder

Value = Literal['output', 'input']
VALUES: tuple[Value, ...] = ('output', 'input')


@dataclass
class LayerRecord:
    """Tensors of a layer: one a call and, of tuples, one an entry.

    Attributes:
        path: the layer's dotted name.
        value: 'output' or 'input'.
        outputs: what it gave, or read, in the order of its calls.
        versions: of each, how often it had been written into when it was recorded.
    """

    path: str
    value: Value = 'output'
    outputs: list[Tensor] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    @property
    def overwritten(self) -> bool:
        """Whether one of them was written into after it was recorded."""
        return any(
            output._version != version
            for output, version in zip(self.outputs, self.versions, strict=True)
        )


@dataclass(frozen=True)
class LayerRecorder(Recorder[LayerRecord]):
    """Records what one layer gives, or reads.

    A head's convolution that is shared over the FPN fires once a level, a neck returns
    all its levels in one call: both give one tensor a level. A list of layers
    (``ModuleList``) gives what comes out of it: of a layer for each level all outputs,
    of layers that feed one another those of the last.

    Args:
        path: the layer's dotted name, such as 'layer3' or 'neck.fpn_convs.0'.
        copy: keep copies: what follows writes into the outputs (an in-place ReLU).
        value: 'output', or 'input': what the layer reads, as it is before the layer
            runs. Of a ReLU that is the pre-activation.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with LayerRecorder('0').attach(model) as record:
        ...     _ = model(torch.zeros(4, 2))
        >>> record.outputs[0].shape
        torch.Size([4, 3])
    """

    path: str
    copy: bool = False
    value: Value = 'output'

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[LayerRecord]:
        """Record within the block; yields the record."""
        record = LayerRecord(self.path, self.value)
        layer = model.get_submodule(self.path)
        layers = called_layers(layer)
        chained = None if layers == [layer] else _Chained()

        def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if self.value == 'input':
                tensors = tensors_of((args, kwargs), f"layer '{self.path}' reads")
                fresh = tensors if chained is None else chained.fresh(tensors)
                self._keep(record, fresh)
            elif chained is not None:
                chained.drop(tensors_in((args, kwargs)), record)

        def after(module: nn.Module, args: Any, output: Any) -> None:
            tensors = tensors_of(output, f"layer '{self.path}' returns")
            if self.value == 'output':
                self._keep(record, tensors)
            if chained is not None:
                chained.given.extend(tensors)

        with ExitStack() as stack:
            for called in layers:
                if self.value == 'input' or chained is not None:
                    hook = called.register_forward_pre_hook(before, with_kwargs=True)
                    stack.callback(hook.remove)
                if self.value == 'output' or chained is not None:
                    stack.callback(called.register_forward_hook(after).remove)
            yield record

    def _keep(self, record: LayerRecord, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            kept = tensor.clone() if self.copy else tensor
            record.outputs.append(kept)
            record.versions.append(kept._version)


@dataclass
class _Chained:
    """Layers of a list that may feed one another: what passes between them.

    Attributes:
        given: all that they gave so far; of 'output', one for each that is recorded
            and not yet dropped.
    """

    given: list[Tensor] = field(default_factory=list)

    def drop(self, tensors: Sequence[Tensor], record: LayerRecord) -> None:
        """Drop from the record of outputs what the next layer of the list reads."""
        for tensor in tensors:
            for number, given in enumerate(self.given):
                if given is tensor:
                    for kept in (self.given, record.outputs, record.versions):
                        del kept[number]
                    break

    def fresh(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Of what a layer reads, that which comes from outside the list."""
        return [
            item for item in tensors if not any(item is given for given in self.given)
        ]


def called_layers(layer: nn.Module) -> list[nn.Module]:
    """The layer itself; of a list of layers, which is never called, those in it."""
    if not isinstance(layer, nn.ModuleList) or callable_itself(layer):
        return [layer]
    return [inner for child in layer.children() for inner in called_layers(child)]


def callable_itself(layer: nn.Module) -> bool:
    """Whether a list of layers has a ``forward`` of its own."""
    return type(layer).forward is not nn.Module.forward


def tensors_in(item: object) -> list[Tensor]:
    """Tensors of tuples, lists and dicts, whatever stands beside them."""
    if isinstance(item, Tensor):
        return [item]
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, (list, tuple)):
        return [tensor for entry in item for tensor in tensors_in(entry)]
    return []


def tensors_of(item: object, what: str) -> list[Tensor]:
    """Tensors of tuples, lists and dicts, one after the other.

    Raises: DistillationError for anything else, beginning with ``what``.
    """
    if isinstance(item, Tensor):
        return [item]
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, (list, tuple)):
        return [tensor for entry in item for tensor in tensors_of(entry, what)]
    raise DistillationError(
        f'{what} {type(item).__name__}; expected a tensor, or a '
        'tuple, list or dict of tensors. Choose another layer in this pair.'
    )
