"""The batch norm behind what is recorded of a layer, found while the model runs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...recorders import Recorder
from ...recorders.recorder import Value, called_layers, tensors_of

# What a residual block calls the branch beside its own.
_SHORTCUTS = ('downsample', 'shortcut')


@dataclass
class NormTrace:
    """Leaves that fired, in order, and the norms that were found.

    Attributes:
        calls: name, module, its output and that one's version.
        found: one entry for each tensor a recorder of the layer holds; None without.
    """

    calls: list[tuple[str, nn.Module, Tensor | None, int]] = field(default_factory=list)
    found: list[_BatchNorm | None] = field(default_factory=list)

    def behind(self, outputs: Sequence[Tensor]) -> list[_BatchNorm | None]:
        """The norm behind each recorded tensor; of a list of layers none is known."""
        if len(self.found) != len(outputs):
            return [None] * len(outputs)
        return self.found

    def fired(self, name: str, module: nn.Module, output: Any) -> None:
        """Note a leaf; outputs of others than norms need not be held."""
        if isinstance(module, _BatchNorm) and isinstance(output, Tensor):
            self.calls.append((name, module, output, output._version))
        else:
            self.calls.append((name, module, None, 0))

    def of_output(self, tensors: Sequence[Tensor]) -> list[_BatchNorm | None]:
        """The norms that gave these very tensors, with nothing in place after them."""
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
        """The last norm before an activation that reads these tensors."""
        norm = self._last_norm()
        return [
            norm if norm and [norm.num_features] == list(tensor.shape[1:2]) else None
            for tensor in tensors
        ]

    def _last_norm(self) -> _BatchNorm | None:
        children = groupby(reversed(self.calls), lambda call: call[0].split('.')[0])
        for child, calls in children:
            _, last, _, _ = next(calls)
            if not isinstance(last, _BatchNorm):
                break
            if child not in _SHORTCUTS:
                return last
        return None


@dataclass(frozen=True)
class NormRecorder(Recorder[NormTrace]):
    """Finds the batch norm behind each tensor that a recorder of that layer holds.

    Of an output: the batch norm that gave this very tensor, the layer itself or one
    inside, with nothing in place after it. Of the input of an activation: the last
    batch norm that fired before it in the same block, outside the shortcut, with no
    other kind of layer in between. So the sum at the end of a residual block goes by
    the norm of its own branch.

    Args:
        path: dotted name of the layer.
        value: 'output' or 'input'.
    """

    path: str
    value: Value = 'output'

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[NormTrace]:
        """Watch the layer, or for its input the block that it lies in."""
        trace = NormTrace()
        layer = model.get_submodule(self.path)
        if called_layers(layer) != [layer]:
            yield trace
            return
        scope = layer
        if self.value == 'input':
            scope = model.get_submodule(self.path.rpartition('.')[0])

        def leaf(name: str) -> Any:
            return lambda module, args, output: trace.fired(name, module, output)

        def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            tensors = tensors_of((args, kwargs), f"layer '{self.path}' reads")
            is_activation = _is_activation(layer)
            none = [None] * len(tensors)
            trace.found.extend(trace.of_input(tensors) if is_activation else none)

        def after(module: nn.Module, args: Any, output: Any) -> None:
            tensors = tensors_of(output, f"layer '{self.path}' returns")
            trace.found.extend(trace.of_output(tensors))

        with ExitStack() as stack:
            hook = scope.register_forward_pre_hook(lambda *_: trace.calls.clear())
            stack.callback(hook.remove)
            for name, module in scope.named_modules():
                if not any(module.children()):
                    hook = module.register_forward_hook(leaf(name))
                    stack.callback(hook.remove)
            if self.value == 'input':
                hook = layer.register_forward_pre_hook(before, with_kwargs=True)
            else:
                hook = layer.register_forward_hook(after)
            stack.callback(hook.remove)
            yield trace


def _is_activation(layer: nn.Module) -> bool:
    """Whether it may act on each number by itself: no convolution, no container."""
    return not any(layer.children()) and all(
        parameter.dim() < 2 for parameter in layer.parameters()
    )
