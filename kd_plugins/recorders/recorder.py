"""Recorders that live for one forward pass.

They attach on entry and detach on exit: hooks that stay would be lost by
``revert_sync_batchnorm`` and doubled by the deep copy of an EMA model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import DistillationError

VALUES = ('output', 'input')


class LayerRecorder:
    """Outputs of one layer: a list over its calls and, for tuples, over the entries.

    A head's convolution that is shared over the FPN fires once a level, a neck returns
    all its levels in one call: both give one tensor a level.

    Args:
        layer: the module to record.
        path: its dotted name, for messages.
        copy: keep copies: what follows writes into the outputs (an in-place ReLU).
        value: 'output', or 'input': then ``outputs`` holds what the layer reads, as it
            is before the layer runs. Of a ReLU that is the pre-activation.
    """

    def __init__(
        self, layer: nn.Module, path: str, copy: bool = False, value: str = 'output'
    ) -> None:
        self.path = path
        self.value = value
        self.outputs: list[Tensor] = []
        self._layer = layer
        self._copy = copy
        self._versions: list[int] = []

    @property
    def overwritten(self) -> bool:
        """Whether one of them was written into after it was recorded."""
        return any(
            output._version != version
            for output, version in zip(self.outputs, self._versions, strict=True)
        )

    @contextmanager
    def open(self) -> Iterator['LayerRecorder']:
        """Record within the block."""
        with record_layer(self._layer, self.path, self.value, self._record):
            yield self

    def _record(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            kept = tensor.clone() if self._copy else tensor
            self.outputs.append(kept)
            self._versions.append(kept._version)


@contextmanager
def record_layer(
    layer: nn.Module, path: str, value: str, seen: Callable[[list[Tensor]], None]
) -> Iterator[None]:
    """Show ``seen`` the tensors of each call of a layer.

    Args:
        layer: whose calls are watched.
        path: its dotted name, for messages.
        value: one of ``VALUES``: what it gives, or what it is about to read.
        seen: called with the tensors, of tuples and dicts one after the other.
    """

    def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        seen(_tensors((args, kwargs), f"layer '{path}' reads"))

    def after(module: nn.Module, args: Any, output: Any) -> None:
        seen(_tensors(output, f"layer '{path}' returns"))

    if value == 'input':
        handle = layer.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = layer.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _tensors(item: Any, what: str) -> list[Tensor]:
    if isinstance(item, Tensor):
        return [item]
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, (list, tuple)):
        return [tensor for entry in item for tensor in _tensors(entry, what)]
    raise DistillationError(
        f'{what} {type(item).__name__}; expected a tensor, or a '
        'tuple, list or dict of tensors. Choose another layer in this pair.'
    )


@contextmanager
def record_method(
    instance: Any, name: str, seen: Callable[[tuple[Any, ...], Any], None]
) -> Iterator[None]:
    """Show ``seen`` the arguments and the result of a method of this one instance.

    The class is left alone: a bound method is shadowed in the instance's ``__dict__``
    and the shadow taken away again.

    Args:
        instance: whose method is watched.
        name: the method's name.
        seen: called with the positional arguments and the result after each call.
    """
    method = getattr(instance, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        seen(args, result)
        return result

    shadowed = instance.__dict__.get(name)
    instance.__dict__[name] = watched
    try:
        yield
    finally:
        if shadowed is None:
            del instance.__dict__[name]
        else:
            instance.__dict__[name] = shadowed
