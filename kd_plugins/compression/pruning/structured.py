"""Remove whole channels until a budget of multiply-adds or parameters is met."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...errors import ConfigError
from ...host_types import HostModule
from .groups import channel_groups, fit_roi_extractors
from .trace import Cost


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
    pruned: Any = copy.deepcopy(model).eval()
    cost = Cost(pruned, images)
    before = budget.of(cost)
    flops, params = cost.flops(), cost.parameters()
    share = 1.0
    options: Any = {'importance': importance, 'keep': keep, 'seed': seed}
    with channel_groups(pruned, images, **options) as found:
        kept = found.kept
        for group in found.ranked():
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
    fit_roi_extractors(pruned, images)
    return Pruned(
        pruned,
        (flops, cost.flops()),
        (params, cost.parameters()),
        tuple(name for name, layer in pruned.named_modules() if layer in kept and name),
    )
