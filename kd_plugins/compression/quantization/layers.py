"""Layers that compute with quantised weights, on quantised inputs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...quantizers import ActivationQuantizer, WeightQuantizer


class FoldedNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm that the convolution before it computes: it passes its input on.

    Its weights, and so the keys of a checkpoint, stay where they were; they learn. Its
    statistics do not move.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, device='meta')
        _take_over(self, norm)

    def forward(self, value: Tensor) -> Tensor:
        return value

    def _check_input_dim(self, value: Tensor) -> None:
        """Of any shape."""


class QuantizedConv2d(nn.Conv2d):
    """A convolution of a host's model, quantised; with the norm behind it, or without.

    Args:
        conv: whose parameters it takes over.
        weight_quantizer: of what it multiplies by, the norm's factor included.
        input_quantizer: of what it reads; None: that stays float.
        norm: behind it, if that is to be folded.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        weight_quantizer: WeightQuantizer,
        input_quantizer: ActivationQuantizer | None = None,
        norm: FoldedNorm | None = None,
    ) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
            device='meta',
        )
        _take_over(self, conv)
        self.weight_quantizer = weight_quantizer
        self.input_quantizer = input_quantizer
        # Not a module of this one: its keys are those of its own place.
        self._norm = (norm,)

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the norm in them, in float."""
        (norm,) = self._norm
        if norm is None:
            return self.weight, self.bias
        assert norm.running_mean is not None and norm.running_var is not None
        factor: Tensor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * factor
        if self.bias is not None:
            shift = shift + self.bias * factor
        return self.weight * factor.view(-1, 1, 1, 1), shift

    def forward(self, value: Tensor) -> Tensor:
        if self.input_quantizer is not None:
            value = self.input_quantizer(value)
        with torch.autocast(value.device.type, enabled=False):
            weight, bias = self.folded()
            weight = self.weight_quantizer(weight)
        output: Tensor = self._conv_forward(value, weight, bias)
        return output


class QuantizedLinear(nn.Linear):
    """A fully connected layer of a host's model, quantised.

    Args:
        linear: whose parameters it takes over.
        weight_quantizer: of its weights.
        input_quantizer: of what it reads; None: that stays float.
    """

    def __init__(
        self,
        linear: nn.Linear,
        weight_quantizer: WeightQuantizer,
        input_quantizer: ActivationQuantizer | None = None,
    ) -> None:
        super().__init__(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            device='meta',
        )
        _take_over(self, linear)
        self.weight_quantizer = weight_quantizer
        self.input_quantizer = input_quantizer

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias, in float."""
        return self.weight, self.bias

    def forward(self, value: Tensor) -> Tensor:
        if self.input_quantizer is not None:
            value = self.input_quantizer(value)
        with torch.autocast(value.device.type, enabled=False):
            weight = self.weight_quantizer(self.weight)
        return F.linear(value, weight, self.bias)


QuantizedLayer = QuantizedConv2d | QuantizedLinear


def _take_over(module: nn.Module, before: nn.Module) -> None:
    """The same parameters, buffers and mode: whoever else holds them holds these."""
    for name, parameter in before.named_parameters(recurse=False):
        setattr(module, name, parameter)
    for name, buffer in before.named_buffers(recurse=False):
        setattr(module, name, buffer)
    module.training = before.training
