"""Channels that depend on each other, as torch-pruning finds them in a trace."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...checks import check_choice
from ...extras import extra
from ...host_types import HostModule
from .held import Held, HeldOutputs, closed
from .kept import kept_layers, unknown_layers

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
    kept = kept_layers(model, keep)
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


def _pruner(
    library: Any,
    model: HostModule,
    images: Tensor,
    importance: str,
    kept: set[nn.Module],
    seed: int,
) -> Any:
    wrapped = HeldOutputs(model, images)

    class Holder(library.BasePruningFunc):
        def prune_out_channels(self, layer: nn.Module, _idxs: Any) -> nn.Module:
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: Any) -> Any:
            return getattr(layer, 'channels', None)

        get_in_channels = get_out_channels

    others = unknown_layers(library, model, kept)
    for layer in others:
        kept.update(layer.modules())
    with closed(others) as ends:
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
            customized_pruners={Held: Holder()},
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warnings: parameters it does not know are handled here."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
