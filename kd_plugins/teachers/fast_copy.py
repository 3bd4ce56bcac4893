"""The fast copy of a model: as much of it as runs."""

import copy
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..folding import CONVOLUTIONS, fold_batch_norms
from ..host_types import HostModule
from ..hosts.extension import compiled_operators
from ..recorders import LayerRecorder
from .fast import Switches
from .packed import PackedConv2d, is_packable
from .row_roi_align import with_row_roi_align

Item = TypeVar('Item')
# These very classes: what inherits from them may compute with its weights.
_CAST = (
    *CONVOLUTIONS,
    *(nn.Conv1d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear),
    nn.modules.linear.NonDynamicallyQuantizableLinear,
)
_COMPILED = ('backbone', 'neck')
_ROI_EXTRACTOR = 'BaseRoIExtractor'  # of mmdet, which need not be there
_OPERATORS = 'mmcv.ops.'


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


def handed_over(
    item: Item, memory_format: torch.memory_format = torch.contiguous_format
) -> Item:
    """Tensors as the plain model gives them: float32, in the usual memory format.

    Args:
        item: tensors, or tuples, lists, dicts and dataclasses with tensors in them.
        memory_format: of the tensors.

    Example:
        >>> handed_over([torch.zeros(1, dtype=torch.bfloat16), torch.ones(1).long()])
        [tensor([0.]), tensor([1])]
    """

    def inner(part: Any) -> Any:
        return handed_over(part, memory_format)

    result: Any = item
    if isinstance(item, Tensor):
        halved = item.dtype in (torch.bfloat16, torch.float16)
        dtype = torch.float32 if halved else item.dtype
        result = item.to(dtype, memory_format=memory_format)
        if memory_format == torch.contiguous_format:
            result = result.contiguous()  # of its own type it came back as it was
    elif isinstance(item, dict):
        result = {key: inner(entry) for key, entry in item.items()}
    elif isinstance(item, tuple) and hasattr(item, '_fields'):
        result = type(item)(*map(inner, item))
    elif isinstance(item, (list, tuple)):
        result = type(item)(map(inner, item))
    elif is_dataclass(item) and not isinstance(item, type):
        entries = {each.name: getattr(item, each.name) for each in fields(item)}
        result = replace(item, **inner(entries))
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
    device = next(model.parameters()).device.type
    others = [child for name, child in model.named_children() if name not in parts]
    copied = copy.deepcopy(model, {id(child): child for child in others})
    kept = {item.path for item in recorders}
    for name in parts:
        part = getattr(copied, name)
        if switches.fold_bn:
            fold_batch_norms(part, name, kept)
        if switches.channels_last:
            part.to(memory_format=torch.channels_last)
            if device == 'cpu':
                with_row_roi_align(part)
        if switches.lowered:
            _cast(part, switches.torch_dtype, _keep_full(part, device))
        # What is attached to the part itself is outside of its ``forward``.
        inside = any(path.startswith(f'{name}.') for path in kept)
        if switches.compile and name in _COMPILED and not inside:
            part.forward = torch.compile(part.forward)
        elif switches.prepack:
            _prepack(part)
    return FastModel(copied, switches)


def _keep_full(part: nn.Module, device: str) -> set[nn.Module]:
    """Let some modules compute in float32; returns these, and what is inside of them.

    RoI extractors round the corners of RoIs to the type of the features: by bfloat16 to
    whole pixels, of larger images to several. Compiled operators know no bfloat16.
    """
    compiled = compiled_operators()
    kept = set()
    for module in part.modules():
        bases = type(module).__mro__
        if any(base.__name__ == _ROI_EXTRACTOR for base in bases):
            memory_format = torch.preserve_format
        elif compiled and any(base.__module__.startswith(_OPERATORS) for base in bases):
            memory_format = torch.contiguous_format
        else:
            continue
        module.forward = _in_full(module.forward, device, memory_format)
        kept |= set(module.modules())
    return kept


def _in_full(
    forward: Callable[..., Any], device: str, memory_format: torch.memory_format
) -> Callable[..., Any]:
    def in_full(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device, enabled=False):
            given = handed_over((args, kwargs), memory_format)
            return forward(*given[0], **given[1])

    return in_full


def _cast(part: nn.Module, dtype: torch.dtype, kept: Collection[nn.Module]) -> None:
    for module in part.modules():
        if type(module) in _CAST and module not in kept:
            module.to(dtype)


def _prepack(part: nn.Module) -> None:
    packed: dict[nn.Module, PackedConv2d] = {}  # one for each, wherever it stands
    for block in list(part.modules()):
        for name, child in block.named_children():
            if is_packable(child):
                packed.setdefault(child, PackedConv2d(child))
                block._modules[name] = packed[child]
