"""The batch norm behind what is recorded of a layer, found while the model runs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...recorders import record_layer

# What a residual block calls the branch beside its own.
_SHORTCUTS = ('downsample', 'shortcut')


@contextmanager
def traced_norms(
    model: nn.Module, path: str, value: str
) -> Iterator[list[_BatchNorm | None]]:
    """One entry for each tensor a recorder of that layer would hold; None without norm.

    Of an output: the batch norm that gave this very tensor, the layer itself or one
    inside, with nothing in place after it. Of the input of an activation: the last
    batch norm that fired before it in the same block, outside the shortcut, with no
    other kind of layer in between. So the sum at the end of a residual block goes by
    the norm of its own branch.

    Args:
        model: whose forward passes are watched within the block.
        path: dotted name of the layer.
        value: 'output' or 'input'.
    """
    layer = model.get_submodule(path)
    scope = layer
    if value == 'input':
        scope = model.get_submodule(path.rpartition('.')[0])
    trace = _Trace()
    with ExitStack() as stack:
        clear = scope.register_forward_pre_hook(lambda *_: trace.calls.clear())
        stack.callback(clear.remove)
        for name, module in scope.named_modules():
            if not any(module.children()):
                handle = module.register_forward_hook(trace.leaf(name))
                stack.callback(handle.remove)
        find = trace.of_output
        if value == 'input':
            find = trace.of_input if _is_activation(layer) else trace.unknown
        stack.enter_context(
            record_layer(
                layer, path, value, lambda seen: trace.found.extend(find(seen))
            )
        )
        yield trace.found


@dataclass
class _Trace:
    """Leaves that fired, in order: name, module, its output and that one's version."""

    calls: list[tuple[str, nn.Module, Any, int]] = field(default_factory=list)
    found: list[_BatchNorm | None] = field(default_factory=list)

    def leaf(self, name: str) -> Any:
        def fired(module: nn.Module, args: Any, output: Any) -> None:
            norm = isinstance(module, _BatchNorm)  # others' outputs need not be held
            kept, version = (output, output._version) if norm else (None, 0)
            self.calls.append((name, module, kept, version))

        return fired

    def of_output(self, tensors: Sequence[Tensor]) -> list[_BatchNorm | None]:
        return [
            next(
                (
                    module
                    for _, module, output, version in reversed(self.calls)
                    if isinstance(module, _BatchNorm)
                    and output is tensor
                    and version == tensor._version
                ),
                None,
            )
            for tensor in tensors
        ]

    def of_input(self, tensors: Sequence[Tensor]) -> list[_BatchNorm | None]:
        norm = self._last_norm()
        return [
            norm if norm and [norm.num_features] == list(tensor.shape[1:2]) else None
            for tensor in tensors
        ]

    def unknown(self, tensors: Sequence[Tensor]) -> list[_BatchNorm | None]:
        return [None] * len(tensors)

    def _last_norm(self) -> _BatchNorm | None:
        children = groupby(reversed(self.calls), lambda call: call[0].split('.')[0])
        for child, calls in children:
            _, last, _, _ = next(calls)
            if not isinstance(last, _BatchNorm):
                break
            if child not in _SHORTCUTS:
                return last
        return None


def _is_activation(layer: nn.Module) -> bool:
    """Whether it may act on each number by itself: no convolution, no container."""
    return not any(layer.children()) and all(
        parameter.dim() < 2 for parameter in layer.parameters()
    )
