"""Recorders that live for one forward pass.

They attach on entry and detach on exit: hooks that stay would be lost by
``revert_sync_batchnorm`` and doubled by the deep copy of an EMA model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import DistillationError


class LayerRecorder:
    """Outputs of one layer: a list over its calls and, for tuples, over the entries.

    A head's convolution that is shared over the FPN fires once a level, a neck returns
    all its levels in one call: both give one tensor a level.

    Args:
        layer: the module to record.
        path: its dotted name, for messages.
        copy: keep copies: what follows writes into the outputs (an in-place ReLU).
    """

    def __init__(self, layer: nn.Module, path: str, copy: bool = False) -> None:
        self.path = path
        self.outputs: list[Tensor] = []
        self._layer = layer
        self._copy = copy
        self._versions: list[int] = []

    @property
    def overwritten(self) -> bool:
        """Whether an output was written into after the layer gave it."""
        return any(
            output._version != version
            for output, version in zip(self.outputs, self._versions, strict=True)
        )

    @contextmanager
    def open(self) -> Iterator['LayerRecorder']:
        """Record within the block."""
        handle = self._layer.register_forward_hook(self._record)
        try:
            yield self
        finally:
            handle.remove()

    def _record(self, module: nn.Module, args: Any, output: Any) -> None:
        for tensor in _tensors(output, self.path):
            kept = tensor.clone() if self._copy else tensor
            self.outputs.append(kept)
            self._versions.append(kept._version)


def _tensors(output: Any, path: str) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for item in output for tensor in _tensors(item, path)]
    raise DistillationError(
        f"layer '{path}' returns {type(output).__name__}; expected a tensor, or a "
        'tuple, list or dict of tensors. Choose another layer in this pair.'
    )


@contextmanager
def shadow_method(
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
