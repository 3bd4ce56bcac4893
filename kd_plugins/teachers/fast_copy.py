"""The fast copy of a model: as much of it as runs."""

import copy
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..host_types import HostModule
from ..recorders import LayerRecorder
from .fast import Switches
from .folding import CONVOLUTIONS, fold_batch_norms
from .packed import PackedConv2d, is_packable

Item = TypeVar('Item')
# These very classes: what inherits from them may compute with its weights.
_CAST = (
    *CONVOLUTIONS,
    *(nn.Conv1d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear),
    nn.modules.linear.NonDynamicallyQuantizableLinear,
)
_COMPILED = ('backbone', 'neck')


@dataclass(frozen=True)
class FastModel:
    """A fast copy, and how it is run.

    Attributes:
        model: with the paths of the plain one; children that do not run are the plain
            ones themselves.
        switches: how it differs.
    """

    model: HostModule
    switches: Switches

    def inputs(self, inputs: Tensor) -> Tensor:
        """Images (N, C, H, W) in the memory format of the copy."""
        if not self.switches.channels_last:
            return inputs
        return inputs.contiguous(memory_format=torch.channels_last)

    def running(self, device: torch.device) -> AbstractContextManager[Any]:
        """What the copy runs in."""
        if not self.switches.lowered:
            return nullcontext()
        return torch.autocast(device.type, self.switches.torch_dtype)


def handed_over(item: Item) -> Item:
    """Tensors as the plain model gives them: float32, in the usual memory format.

    Args:
        item: tensors, or tuples, lists, dicts and dataclasses with tensors in them.

    Example:
        >>> handed_over([torch.zeros(1, dtype=torch.bfloat16), torch.ones(1).long()])
        [tensor([0.]), tensor([1])]
    """
    result: Any = item
    if isinstance(item, Tensor):
        result = item.contiguous()
        if item.dtype in (torch.bfloat16, torch.float16):
            result = item.to(torch.float32, memory_format=torch.contiguous_format)
    elif isinstance(item, dict):
        result = {key: handed_over(entry) for key, entry in item.items()}
    elif isinstance(item, tuple) and hasattr(item, '_fields'):
        result = type(item)(*map(handed_over, item))
    elif isinstance(item, (list, tuple)):
        result = type(item)(map(handed_over, item))
    elif is_dataclass(item) and not isinstance(item, type):
        entries = {each.name: getattr(item, each.name) for each in fields(item)}
        result = replace(item, **handed_over(entries))
    return result  # type: ignore[no-any-return]


def make_fast(
    model: HostModule,
    parts: Sequence[str],
    recorders: Collection[LayerRecorder],
    switches: Switches,
) -> FastModel:
    """A fast copy of what runs of a model; the model itself stays as it is.

    Args:
        model: frozen, in ``eval()``, with nothing attached to it.
        parts: children that run, such as 'backbone' and 'neck'.
        recorders: what is recorded of it: recorded values stay what they are.
        switches: how the copy differs.
    """
    others = [child for name, child in model.named_children() if name not in parts]
    copied = copy.deepcopy(model, {id(child): child for child in others})
    kept = {item.path for item in recorders}
    for name in parts:
        part = getattr(copied, name)
        if switches.fold_bn:
            fold_batch_norms(part, name, kept)
        if switches.channels_last:
            part.to(memory_format=torch.channels_last)
        if switches.lowered:
            _cast(part, switches.torch_dtype)
        # What is attached to the part itself is outside of its ``forward``.
        inside = any(path.startswith(f'{name}.') for path in kept)
        if switches.compile and name in _COMPILED and not inside:
            part.forward = torch.compile(part.forward)
        elif switches.prepack:
            _prepack(part)
    return FastModel(copied, switches)


def _cast(part: nn.Module, dtype: torch.dtype) -> None:
    for module in part.modules():
        if type(module) in _CAST:
            module.to(dtype)


def _prepack(part: nn.Module) -> None:
    packed: dict[nn.Module, PackedConv2d] = {}  # one for each, wherever it stands
    for block in list(part.modules()):
        for name, child in block.named_children():
            if is_packable(child):
                packed.setdefault(child, PackedConv2d(child))
                block._modules[name] = packed[child]
