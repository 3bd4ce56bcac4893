"""Evenly spread values between the least and the largest weight of a bucket."""

from torch import Tensor

from kd_plugins.checks import check_optional_int
from kd_plugins.quantizers._base import WeightQuantizer, check_bits, straight_through
from kd_plugins.quantizers._buckets import in_buckets
from kd_plugins.registry import QUANTIZERS


def quantize_bucketed(
    weight: Tensor, *, bits: int, bucket_size: int | None = 256
) -> Tensor:
    r"""Round weights to :math:`2^b` values that are evenly spread over their bucket.

    .. math::
        Q(w) = a \frac{round((s - 1) (w - b) / a)}{s - 1} + b, \quad s = 2^{bits},
        \quad b = \min w, \quad a = \max w - \min w

    with minimum and maximum over the bucket. The gradient is that of the identity: the
    float weights move by the gradient at the quantised ones.

    Args:
        weight: any shape; neighbours in memory share a bucket.
        bits: 1 to 8.
        bucket_size: weights of one bucket; None: all of a layer in one.

    Returns: same shape.

    Source: Polino et al., Model compression via distillation and quantization, ICLR
        2018, https://arxiv.org/abs/1802.05668, section 2.1, linear scaling. The authors
        quantise every parameter; here biases and norms stay float.

    Example:
        >>> import torch
        >>> quantize_bucketed(torch.tensor([-1.0, 0.1, 0.2, 1.0]), bits=2)
        tensor([-1.0000,  0.3333,  0.3333,  1.0000])
    """
    buckets = in_buckets(weight, bucket_size)
    steps = 2**bits - 1
    return straight_through(
        weight, buckets.back((buckets.scaled * steps).round() / steps)
    )


@QUANTIZERS.register_module()
class BucketedWeights(WeightQuantizer):
    """Weights as :func:`quantize_bucketed` rounds them.

    Args:
        bits: 1 to 8.
        bucket_size: weights of one bucket; None: all of a layer in one.

    Raises: ConfigError for invalid values.
    """

    def __init__(self, bits: int, bucket_size: int | None = 256) -> None:
        super().__init__()
        self.bits = check_bits(bits, minimum=1)
        self.bucket_size = check_optional_int('bucket_size', bucket_size)

    def forward(self, weight: Tensor) -> Tensor:
        return quantize_bucketed(weight, bits=self.bits, bucket_size=self.bucket_size)

    def extra_repr(self) -> str:
        return f'bits={self.bits}, bucket_size={self.bucket_size}'
