"""Convolutions whose weights lie in memory as the CPU's kernels read them."""

from typing import TypeGuard

import torch
from torch import Tensor, nn

from ..folding import CONVOLUTIONS

# Shapes of its input for which a convolution keeps its weights: an FPN has five levels.
_SHAPES = 5


class PackedConv2d(nn.Conv2d):
    """A frozen convolution that does not reorder its weights at every call.

    oneDNN, by which torch convolves on a CPU, chooses an order by the input's shape. Of
    deep layers on small maps reordering takes longer than convolving. The result is the
    same for every order, bit for bit. No gradient passes.

    Args:
        conv: of zero padding, in float32 or bfloat16; its parameters are shared.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(conv.__dict__)
        self._packed: dict[torch.Size, Tensor] = {}
        # Read at every call; parameters are looked up in several dicts.
        self._options = (self.padding, self.stride, self.dilation, self.groups)
        self._dtype, self._added = self.weight.dtype, (self.bias,)

    def forward(self, input: Tensor) -> Tensor:
        """As of ``nn.Conv2d``, in the weights' data type.

        Args:
            input: (N, C, H, W), channels last or not.
        """
        if input.dtype != self._dtype:
            input = input.to(self._dtype)
        packed = self._packed.get(input.shape)
        if packed is None:
            if not input.numel():  # of no RoI
                return super().forward(input)
            packed = self._pack(input.shape)
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(
            input, packed, *self._added, *self._options, 'none', [], ''
        )
        return output

    def _pack(self, shape: torch.Size) -> Tensor:
        """The weights in the order for this shape, kept for later."""
        if len(self._packed) == _SHAPES:
            del self._packed[next(iter(self._packed))]
        packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            self.weight, *self._options, shape
        )
        self._packed[shape] = packed
        return packed


def is_packable(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether :class:`PackedConv2d` gives what this one gives."""
    return (
        type(conv) in CONVOLUTIONS
        and conv.padding_mode == 'zeros'
        and not isinstance(conv.padding, str)
        and conv.weight.dtype in (torch.float32, torch.bfloat16)
    )
