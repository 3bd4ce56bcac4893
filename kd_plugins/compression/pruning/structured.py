"""Remove whole channels until a budget of multiply-adds or parameters is met."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, nearest
from ...extras import extra
from ...host_types import HostModule
from .trace import Cost, trace

IMPORTANCES = ('magnitude', 'random')
_STEPS = 50  # of a ranking of all channels; within one, group by group
_MOST = 0.9  # of a layer's channels, at most, go


@dataclass(frozen=True)
class Budget:
    """How much is left of a model.

    Attributes:
        flops: share of the multiply-adds; None where parameters count.
        params: share of the parameters; None where multiply-adds count.
        tolerance: how far below it may end, as a share.

    Raises: ConfigError for not just one of the two, or no share.
    """

    flops: float | None = None
    params: float | None = None
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        given = {
            name: value
            for name, value in (('flops', self.flops), ('params', self.params))
            if value is not None
        }
        if len(given) != 1:
            raise ConfigError(
                'a budget is a share of either flops or params, got '
                f'{" and ".join(given) or "neither"}.'
            )
        for name, value in {**given, 'tolerance': self.tolerance}.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 < value < 1:
                raise ConfigError(
                    f'{name} is a share, above 0 and below 1, got {value!r}.'
                )

    @property
    def share(self) -> float:
        """What is left at most."""
        share = self.flops if self.flops is not None else self.params
        assert share is not None
        return share

    def of(self, cost: Cost) -> float:
        """What it counts of a model."""
        return cost.flops() if self.flops is not None else cost.parameters()

    def __str__(self) -> str:
        what = 'multiply-adds' if self.flops is not None else 'parameters'
        return f'{100 * self.share:.4g} % of the {what}'


@dataclass(frozen=True)
class Pruned:
    """What pruning came to.

    Attributes:
        model: with fewer channels; in ``eval()``.
        flops: multiply-adds before and after.
        params: parameters before and after.
        kept: layers that kept their channels, by what held them.
    """

    model: HostModule
    flops: tuple[float, float]
    params: tuple[int, int]
    kept: tuple[str, ...]


def prune_channels(
    model: HostModule,
    images: Tensor,
    budget: Budget,
    *,
    importance: str = 'magnitude',
    keep: Sequence[str] = (),
    seed: int = 0,
) -> Pruned:
    """Remove the least important channels, as many of each layer as of any other.

    Channels that depend on each other (residual adds, concatenations, depthwise
    convolutions, groups of a norm) go together: torch-pruning finds them in a trace of
    a real forward. What the heads give stays as it is, and so do attention and other
    layers that it cannot narrow, with all that is added to them. At most nine tenths
    of a layer go.

    Args:
        model: a detector or segmentor; it stays as it is.
        images: (1, 3, H, W), preprocessed: of the size for which multiply-adds count.
        budget: what is left.
        importance: by which the channels of a layer are ranked: 'magnitude', the L2
            norm of all weights of a channel and of those that depend on it; or
            'random', a control, whose model has the same shape.
        keep: names of layers, or globs such as 'neck*', that keep their outputs.
        seed: of 'random'.

    Raises: ConfigError for a budget that cannot be met; for a name in ``keep`` that
        there is not; for a layer that cannot be pruned, by its name; where
        torch-pruning is not installed.
    Source: the groups are those of Fang et al., DepGraph: Towards Any Structural
        Pruning, CVPR 2023, https://arxiv.org/abs/2301.12900.
    """
    if importance not in IMPORTANCES:
        raise ConfigError(
            f"importance must be one of {IMPORTANCES}, got '{importance}'. "
            f'{nearest(importance, IMPORTANCES)}'
        )
    with extra('prune', 'structured pruning'):
        import torch_pruning
    pruned: Any = copy.deepcopy(model).eval()
    grads = {name: each.requires_grad for name, each in pruned.named_parameters()}
    for parameter in pruned.parameters():
        parameter.requires_grad_(True)  # the trace follows gradients
    for layer in pruned.modules():
        if getattr(layer, 'with_cp', False):  # a checkpointed block hides its layers
            layer.with_cp = False
    cost = Cost(pruned, images)
    before = budget.of(cost)
    flops, params = cost.flops(), cost.parameters()
    kept = _kept(pruned, keep)
    with _quiet(), torch.enable_grad():
        pruner = _pruner(torch_pruning, pruned, images, importance, kept, seed)
        share = 1.0
        for group in _groups(pruner):
            group.prune()
            share = budget.of(cost) / before
            if share <= budget.share:
                break
    if share > budget.share:
        raise ConfigError(
            f'{budget} cannot be met: with nine tenths of the channels removed where '
            f'they can be, {100 * share:.1f} % are left. Give a larger share'
            + (f', or keep less than {", ".join(keep)}.' if keep else '.')
        )
    if share < budget.share - budget.tolerance:
        raise ConfigError(
            f'{budget} cannot be met within {100 * budget.tolerance:.3g} %: channels '
            f'that depend on each other go together, and {100 * share:.1f} % are left '
            f'after the last. Ask for that share, or give a larger tolerance.'
        )
    for name, parameter in pruned.named_parameters():
        parameter.requires_grad_(grads[name])
    _fit_roi_extractors(pruned, images)
    return Pruned(
        pruned,
        (flops, cost.flops()),
        (params, cost.parameters()),
        tuple(name for name, layer in pruned.named_modules() if layer in kept and name),
    )


def _fit_roi_extractors(model: HostModule, images: Tensor) -> None:
    """Tell them how many channels features have: they keep a number of their own."""
    with torch.no_grad():
        features = model.extract_feat(images)
    for layer in model.modules():
        if hasattr(layer, 'roi_layers'):
            layer.out_channels = features[0].shape[1]


class _Held(nn.Module):
    """Stands behind an output, whose channels stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, output: Tensor) -> Tensor:
        return output * 1.0


class _Wrapped(nn.Module):
    """A model that gives, of images, all tensors whose channels stay."""

    def __init__(self, model: HostModule, images: Tensor) -> None:
        super().__init__()
        self.model = model
        with torch.enable_grad():
            outputs = self._outputs(images)
        self.held = nn.ModuleList(_Held(each.shape[1]) for each in outputs)

    def _outputs(self, images: Tensor) -> list[Tensor]:
        outputs = trace(self.model, images).outputs
        return [each for each in outputs if each.requires_grad]  # priors have none

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs = self._outputs(images)
        return [held(each) for held, each in zip(self.held, outputs, strict=True)]


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
    return library.pruner.BasePruner(
        wrapped,
        images,
        importance=_importance(library, importance, seed),
        global_pruning=True,
        pruning_ratio=1.0,
        max_pruning_ratio=_MOST,
        iterative_steps=_STEPS,
        ignored_layers=[*wrapped.held, *others, *kept],
        customized_pruners={
            kind: Holder() for kind in {_Held, *(type(each) for each in others)}
        },
        forward_fn=lambda traced, inputs: traced(inputs),
        in_channel_groups={},
        out_channel_groups={},
        num_heads={},
    )


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
    return [
        layer
        for layer in model.modules()
        if layer not in kept
        and not isinstance(layer, known)
        and any(each.dim() > 1 for each in layer.parameters(recurse=False))
    ]


def _groups(pruner: Any) -> Iterator[Any]:
    for _ in range(_STEPS):
        yield from pruner.step(interactive=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warnings: parameters it does not know are handled here."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
