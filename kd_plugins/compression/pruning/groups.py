"""Channels that depend on each other, as torch-pruning finds them in a trace."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...checks import check_choice
from ...errors import ConfigError, nearest
from ...extras import extra
from ...host_types import HostModule
from .trace import trace

IMPORTANCES = ('magnitude', 'random')
_STEPS = 50  # of a ranking of all channels; within one, group by group
_MOST = 0.9  # of a layer's channels, at most, go


class ChannelGroups:
    """Groups of channels of a model, which go together.

    Args:
        pruner: of the library.
        kept: layers whose outputs stay.

    Attributes:
        kept: the same.
    """

    def __init__(self, pruner: Any, kept: set[nn.Module]) -> None:
        self._pruner, self.kept = pruner, kept

    def ranked(self) -> Iterator[Any]:
        """Groups of the least important channels, those first that go first."""
        for _ in range(_STEPS):
            yield from self._pruner.step(interactive=True)

    def groups(self) -> list[Any]:
        """All groups, each of all channels of its layers."""
        return list(
            self._pruner.DG.get_all_groups(
                ignored_layers=self._pruner.ignored_layers,
                root_module_types=self._pruner.root_module_types,
            )
        )

    def outputs_of(self, group: Any) -> list[nn.Module]:
        """Layers whose outputs are the channels of a group."""
        graph = self._pruner.DG
        return [
            dep.target.module
            for dep, _ in group
            if graph.is_out_channel_pruning_fn(dep.handler)
        ]

    def _norm_groups(self, group: Any) -> int:
        """In how many parts of one size the channels of a group must stay."""
        pruner = self._pruner
        numbers = [1]
        for dep, _ in group:
            writes = pruner.DG.is_out_channel_pruning_fn(dep.handler)
            parts = pruner.out_channel_groups if writes else pruner.in_channel_groups
            numbers.append(parts.get(dep.target.module, 1))
        return max(numbers)

    def narrow(self, group: Any, width: int) -> None:
        """Leave so many of a group's first channels, or as many more as its norm needs.

        Args:
            group: of all channels.
            width: of its first layer; as many as it has, or more, leave it as it is.
        """
        dep, idxs = group[0]
        parts = self._norm_groups(group)
        size = len(idxs) // parts
        left = min(-(-width // parts), size)
        gone = [
            part * size + each for part in range(parts) for each in range(left, size)
        ]
        if gone:
            graph = self._pruner.DG
            graph.get_pruning_group(dep.target.module, dep.handler, gone).prune()


@contextmanager
def channel_groups(
    model: HostModule,
    images: Tensor,
    *,
    importance: str = IMPORTANCES[0],
    keep: Sequence[str] = (),
    seed: int = 0,
) -> Iterator[ChannelGroups]:
    """Within, the channels of a model can be removed; it must not be trained.

    Args:
        model: a copy, which is changed.
        images: (1, 3, H, W), preprocessed, to trace it with.
        importance: of ``IMPORTANCES``, by which :meth:`ChannelGroups.ranked` ranks.
        keep: names of layers, or globs, that keep their outputs.
        seed: of 'random'.

    Raises: ConfigError for a name that there is not; where torch-pruning is missing.
    """
    check_choice('importance', importance, IMPORTANCES)
    with extra('prune', 'structured pruning'):
        import torch_pruning
    kept = _kept(model, keep)
    learn = {name: each.requires_grad for name, each in model.named_parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(True)  # the trace follows gradients
    layers: list[Any] = list(model.modules())
    for layer in layers:
        if getattr(layer, 'with_cp', False):  # a checkpointed block hides its layers
            layer.with_cp = False
    with _quiet(), torch.enable_grad():
        yield ChannelGroups(
            _pruner(torch_pruning, model, images, importance, kept, seed), kept
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(learn[name])


def fit_roi_extractors(model: HostModule, images: Tensor) -> None:
    """Tell them how many channels features have: they keep a number of their own."""
    with torch.no_grad():
        features = model.extract_feat(images)
    for layer in model.modules():
        if hasattr(layer, 'roi_layers'):
            layer.out_channels = features[0].shape[1]


class _Held(nn.Module):
    """Stands behind an output, whose channels stay."""

    channels: int | None = None

    def forward(self, output: Tensor) -> Tensor:
        self.channels = output.shape[1] if output.dim() > 1 else None
        return output * 1.0


class _Wrapped(nn.Module):
    """A model that gives, of images, all tensors whose channels stay."""

    def __init__(self, model: HostModule, images: Tensor) -> None:
        super().__init__()
        self.model = model
        with torch.enable_grad():
            outputs = self._outputs(images)
        self.held = nn.ModuleList(_Held() for _ in outputs)

    def _outputs(self, images: Tensor) -> list[Tensor]:
        outputs = trace(self.model, images).outputs
        return [each for each in outputs if each.requires_grad]  # priors have none

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs = self._outputs(images)
        # Behind them stand the ends of layers that are closed.
        return [held(each) for held, each in zip(self.held, outputs, strict=False)]


@contextmanager
def _closed(layers: Sequence[nn.Module]) -> Iterator[list[_Held]]:
    """Within, layers give what they give, but no trace leads through them.

    Yields: what stands before and behind each, whose channels stay.
    """
    ends: list[_Held] = []
    for layer in layers:
        before, behind = _Held(), _Held()
        ends += [before, behind]
        # On this copy of the model alone.
        vars(layer)['forward'] = partial(_close, layer.forward, before, behind)
    try:
        yield ends
    finally:
        for layer in layers:
            del vars(layer)['forward']


def _close(
    forward: Any, before: _Held, behind: _Held, *inputs: Any, **options: Any
) -> Any:
    with torch.no_grad():
        output = forward(*inputs, **options)
    # The inputs are still needed, though for nothing.
    ties = [before(each).mean() for each in inputs if _learns(each)]
    tie = torch.stack(ties).sum() * 0 if ties else None

    def opened(content: Any) -> Any:
        if isinstance(content, (list, tuple)):
            return type(content)(opened(item) for item in content)
        if not isinstance(content, Tensor) or not content.is_floating_point():
            return content
        start = content.detach().requires_grad_() if tie is None else content + tie
        return behind(start)

    return opened(output)


def _learns(content: object) -> bool:
    return isinstance(content, Tensor) and content.requires_grad


def _kept(model: HostModule, keep: Sequence[str]) -> set[nn.Module]:
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


def _pruner(
    library: Any,
    model: HostModule,
    images: Tensor,
    importance: str,
    kept: set[nn.Module],
    seed: int,
) -> Any:
    wrapped = _Wrapped(model, images)

    class Holder(library.BasePruningFunc):
        def prune_out_channels(self, layer: nn.Module, _idxs: Any) -> nn.Module:
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: Any) -> Any:
            return getattr(layer, 'channels', None)

        get_in_channels = get_out_channels

    others = _unknown_layers(library, model, kept)
    for layer in others:
        kept.update(layer.modules())
    with _closed(others) as ends:
        wrapped.held.extend(ends)
        pruner = library.pruner.BasePruner(
            wrapped,
            images,
            importance=_importance(library, importance, seed),
            global_pruning=True,
            pruning_ratio=1.0,
            max_pruning_ratio=_MOST,
            iterative_steps=_STEPS,
            ignored_layers=[*wrapped.held, *kept],
            customized_pruners={_Held: Holder()},
            forward_fn=lambda traced, inputs: traced(inputs),
            in_channel_groups={},
            out_channel_groups={},
            num_heads={},
        )
    _map_flattened(library, pruner.DG)
    return pruner


def _map_flattened(library: Any, graph: Any) -> None:
    """Let a linear layer behind flattened maps lose all pixels of a channel.

    The library leaves that out for all of a model that has linear layers of sequences.
    """
    kinds = library.ops.OPTYPE
    all_are_maps, graph._2d_4d = graph._2d_4d, True
    for node in graph.module2node.values():
        if node.type == kinds.RESHAPE and not all_are_maps:
            behind = {each.type for each in node.outputs}
            if behind == {kinds.LINEAR}:
                library.dependency.index_mapping.update_reshape_index_mapping(
                    graph, node
                )
    graph._2d_4d = all_are_maps


def _importance(library: Any, name: str, seed: int) -> Any:
    """How much of its layer is gone once a channel goes: the least of all go first.

    Within a layer the criterion ranks; across layers the share counts, so that all
    become narrower alike, and none is emptied for being small in norm.
    """
    generator = torch.Generator().manual_seed(seed)
    magnitude = library.importance.GroupMagnitudeImportance(p=2, normalizer=None)
    whole: dict[nn.Module, int] = {}

    def rank(group: Any) -> Tensor | None:
        dep, idxs = group[0]
        number = len(idxs)
        before = whole.setdefault(dep.target.module, number)
        scores = magnitude(group)
        if scores is None:
            return None
        if name == 'random':
            scores = torch.rand(number, generator=generator)
        ranks = scores.argsort().argsort()
        shares: Tensor = (before - number + ranks + 1) / before
        return shares

    return rank


def _unknown_layers(
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warnings: parameters it does not know are handled here."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
