"""Layers that keep their channels: by name, by their kind, or as nobody knows them."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from ...errors import ConfigError, nearest
from ...host_types import HostModule


def kept_layers(model: HostModule, keep: Sequence[str]) -> set[nn.Module]:
    """Layers that keep their channels: those that are named, and attention."""
    kept: set[nn.Module] = set()
    modules = dict(model.named_modules())
    for pattern in keep:
        found = [name for name in modules if name and fnmatchcase(name, pattern)]
        if not found:
            raise ConfigError(
                f"there is no layer '{pattern}'. {nearest(pattern, modules)}", 'keep'
            )
        for name in found:
            kept.update(modules[name].modules())
    for layer in modules.values():
        if _is_attention(layer):
            kept.update(layer.modules())
    return kept


def _is_attention(layer: nn.Module) -> bool:
    # Its heads are reshaped by numbers that it keeps; swin's adds a table to them.
    own = [name for name, _ in layer.named_parameters(recurse=False)]
    return isinstance(layer, nn.MultiheadAttention) or (
        'relative_position_bias_table' in own
    )


def unknown_layers(
    library: Any, model: HostModule, kept: set[nn.Module]
) -> list[nn.Module]:
    """Layers with weights of their own that the library has no rule for."""
    known = tuple(
        library.ops.type2class(kind)
        for kind in library.DependencyGraph().REGISTERED_PRUNERS
        if kind != library.ops.OPTYPE.PARAMETER
    )
    found: list[nn.Module] = []
    within: set[nn.Module] = set(kept)
    for layer in model.modules():  # one that holds others comes before them
        own = layer.parameters(recurse=False)
        if layer in within or isinstance(layer, known):
            continue
        if any(each.dim() > 1 for each in own):
            found.append(layer)
            within.update(layer.modules())
    return found
