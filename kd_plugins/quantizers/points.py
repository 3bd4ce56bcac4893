"""Values that are learnt: each weight becomes the nearest of its layer's points."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kd_plugins.checks import check_int, check_optional_int
from kd_plugins.errors import ConfigError
from kd_plugins.quantizers._base import Observing, WeightQuantizer
from kd_plugins.quantizers._buckets import in_buckets
from kd_plugins.registry import QUANTIZERS


def nearest_points(scaled: Tensor, points: Tensor) -> Tensor:
    """The nearest point of each value; of two as near, the lower one.

    The gradient of a point is the sum of those of the values that it stands for; values
    have none.

    Args:
        scaled: any shape.
        points: (S,), in any order.

    Returns: shape of ``scaled``.

    Source: Polino et al., Model compression via distillation and quantization, ICLR
        2018, https://arxiv.org/abs/1802.05668, section 4.

    Example:
        >>> nearest_points(torch.tensor([0.1, 0.3, 0.9]), torch.tensor([0.8, 0.2]))
        tensor([0.2000, 0.2000, 0.8000])
    """
    points = points.sort().values  # the order is no more than a name
    middles = (points[1:] + points[:-1]).detach() / 2
    return points[torch.bucketize(scaled.detach(), middles)]


def quantile_points(scaled: Tensor, number: int) -> Tensor:
    """Where learning starts: as many values lie between any two neighbours.

    Args:
        scaled: any shape.
        number: S of points, >= 2.

    Returns: shape (S,), from the least to the largest value.

    Source: as :func:`nearest_points`, section 4.1.

    Example:
        >>> quantile_points(torch.linspace(0, 1, 101), 3)
        tensor([0.0000, 0.5000, 1.0000])
    """
    values = scaled.detach().flatten().sort().values
    # Not torch.quantile, which refuses more than 16 million values.
    at = torch.linspace(0, len(values) - 1, number, device=values.device)
    low = at.floor().long()
    high = (low + 1).clamp(max=len(values) - 1)
    return torch.lerp(values[low], values[high], at - low)


def redistributed(points: int, norms: Mapping[str, float]) -> dict[str, int]:
    """Points of each layer, more where the loss feels its weights more.

    Each layer keeps half of its points. The other halves are shared out in proportion
    to the norm of the gradient; what rounding leaves over goes to the layer with the
    largest.

    Args:
        points: of each layer at first, >= 4.
        norms: of the gradient of each layer's weights, >= 0, not all 0.

    Returns: a number for each, in all as many as before.
    Raises: ConfigError if all norms are 0.

    Source: as :func:`nearest_points`, section 4.1.

    Example:
        >>> redistributed(16, {'stem': 3.0, 'head': 1.0})
        {'stem': 20, 'head': 12}
    """
    total = sum(norms.values())
    if not total > 0:
        raise ConfigError(
            'the gradient of all quantised weights is 0: expected some, to share the '
            'points out by. Remove redistribute=..., or train on other data.'
        )
    kept = points // 2
    rest = (points - kept) * len(norms)
    shares = {name: kept + int(rest * norm / total) for name, norm in norms.items()}
    largest = max(norms, key=lambda name: norms[name])
    shares[largest] += points * len(norms) - sum(shares.values())
    return shares


@QUANTIZERS.register_module()
class PointWeights(Observing, WeightQuantizer):
    """Differentiable quantisation: weights stay, the values that they become learn.

    Weights are scaled to [0, 1] bucket by bucket; the points lie in that range. They
    start at the quantiles of the weights that the layer has when it first trains.

    Args:
        points: number of values of a layer, >= 2; 16 take 4 bits.
        bucket_size: weights of one bucket; None: all of a layer in one.

    Attributes:
        points: (S,).

    Raises: ConfigError for invalid values.

    Source: Polino et al., Model compression via distillation and quantization, ICLR
        2018, https://arxiv.org/abs/1802.05668, section 4.
    """

    trains_weights: ClassVar[bool] = False

    def __init__(self, points: int = 16, bucket_size: int | None = 256) -> None:
        super().__init__()
        number = check_int('points', points, 2)
        self.points = nn.Parameter(torch.linspace(0, 1, number))
        self.bucket_size = check_optional_int('bucket_size', bucket_size)

    def start(self, weight: Tensor, number: int | None = None) -> None:
        """Put the points at quantiles.

        Args:
            weight: of the layer.
            number: of points; None: as many as before.
        """
        scaled = in_buckets(weight, self.bucket_size).scaled
        self.points.data = quantile_points(scaled, number or len(self.points))
        self.is_observed.fill_(True)

    def forward(self, weight: Tensor) -> Tensor:
        if self.observes and not self.is_observed:
            self.start(weight)
        if not self.is_observed:
            return weight
        buckets = in_buckets(weight, self.bucket_size)
        return buckets.back(nearest_points(buckets.scaled, self.points))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        stored = state_dict.get(f'{prefix}points')
        if stored is not None:  # of another number, where they were shared out anew
            self.points.data = torch.empty_like(stored, device=self.points.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'points={len(self.points)}, bucket_size={self.bucket_size}'
