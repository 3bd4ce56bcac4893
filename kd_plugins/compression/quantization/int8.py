"""Quantised layers as an exporter reads them, and whole numbers in the file."""

import copy
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ConfigError
from ...quantizers import ObservedActivations, UniformWeights, affine_range
from ...quantizers.uniform import uniform_scale
from .calibrate import check_calibrated
from .layers import FoldedNorm, QuantizedConv2d, QuantizedLayer, QuantizedLinear
from .model import quantized_layers

Model = TypeVar('Model', bound=nn.Module)
_ZERO = 128  # of unsigned numbers
_BITS = 8  # ONNX has whole numbers of fewer bits, which few runtimes compute with


class _Int8(nn.Module):
    """Weight, bias and scales of a layer as constants, its norm in them."""

    weight: Tensor
    weight_scale: Tensor
    weight_zero: Tensor
    bias: Tensor | None

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        weight, bias = layer.folded()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = (
            None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        )
        quantizer = cast(UniformWeights, layer.weight_quantizer)
        self.reach = 2 ** (quantizer.bits - 1)
        scale = uniform_scale(weight, quantizer.bits, quantizer.per_channel)
        scale = scale.expand(len(weight)).contiguous()
        self.register_buffer('weight_scale', scale)
        self.register_buffer('weight_zero', torch.zeros(len(scale), dtype=torch.int32))
        self.inputs: tuple[float, int] | None = None
        observed = layer.input_quantizer
        if observed is not None:
            ranges = cast(ObservedActivations, observed)
            if ranges.is_observed:  # else of a head that only trains
                input_scale, zero = affine_range(ranges.minimum, ranges.maximum)
                self.inputs = float(input_scale), int(zero)

    def quantized_input(self, value: Tensor) -> Tensor:
        if self.inputs is None:
            return value
        return torch.fake_quantize_per_tensor_affine(value, *self.inputs, 0, 255)

    def quantized_weight(self) -> Tensor:
        # Of fewer bits the weights reach less far, by their scale.
        return torch.fake_quantize_per_channel_affine(
            self.weight, self.weight_scale, self.weight_zero, 0, -128, 127
        )


class Int8Conv2d(_Int8):
    """A convolution whose weights and inputs are constants of 8 bits, times a scale."""

    def __init__(self, layer: QuantizedConv2d) -> None:
        super().__init__(layer)
        self.options: Any = layer.stride, layer.padding, layer.dilation, layer.groups
        if layer.padding_mode != 'zeros':
            raise ConfigError(
                f"a convolution pads with '{layer.padding_mode}': expected 'zeros'."
            )

    def forward(self, value: Tensor) -> Tensor:
        value = self.quantized_input(value)
        return F.conv2d(value, self.quantized_weight(), self.bias, *self.options)


class Int8Linear(_Int8):
    """A fully connected layer, as :class:`Int8Conv2d`."""

    def forward(self, value: Tensor) -> Tensor:
        return F.linear(self.quantized_input(value), self.quantized_weight(), self.bias)


def int8_copy(model: Model) -> Model:
    """A copy that computes the same, in operators that exporters know.

    Args:
        model: with quantised layers of 8 bits, calibrated; it stays as it is. One
            without any is copied.

    Raises: ConfigError naming the layers that are of other bits, or not calibrated.
    """
    check_calibrated(model)
    layers = quantized_layers(model)
    others = [name for name, layer in layers.items() if not _is_int8(layer)]
    if others:
        first = layers[others[0]]
        raise ConfigError(
            f'{", ".join(others[:5])}{" ..." if len(others) > 5 else ""} cannot be '
            "exported as int8: expected weights=dict(type='UniformWeights', bits=8) "
            "and activations=dict(type='ObservedActivations', bits=8), got "
            f'{first.weight_quantizer} and {first.input_quantizer}. Export the float '
            'weights, or name the layers in float_layers.'
        )
    copied = copy.deepcopy(model)
    exchanged: dict[int, nn.Module] = {}
    for parent in list(copied.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, (QuantizedConv2d, QuantizedLinear)):
                if id(child) not in exchanged:
                    exchanged[id(child)] = (
                        Int8Linear(child)
                        if isinstance(child, QuantizedLinear)
                        else Int8Conv2d(child)
                    )
                parent._modules[name] = exchanged[id(child)]
    for parent in list(copied.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, FoldedNorm):
                parent._modules[name] = nn.Identity()
    return copied.eval()


def _is_int8(layer: QuantizedLayer) -> bool:
    weights, inputs = layer.weight_quantizer, layer.input_quantizer
    return (
        isinstance(weights, UniformWeights)
        and weights.bits <= _BITS
        and (
            inputs is None
            or (isinstance(inputs, ObservedActivations) and inputs.bits == _BITS)
        )
    )


def store_int8(model: Any) -> int:
    """Keep quantised constants of an ONNX model as whole numbers, in place.

    An exporter writes a weight as float32 and has it quantised when it is loaded: the
    file is four times as large. Here it is stored as an unsigned number, 128 more:
    products of signed and unsigned numbers are added up in 16 bits by x86 processors
    without VNNI, and overflow; those of two unsigned ones are not.

    Args:
        model: an ``onnx.ModelProto`` with QuantizeLinear and DequantizeLinear.

    Returns: how many weights were stored so.
    """
    from onnx import numpy_helper

    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    for node in list(graph.node):  # as one of the exporters writes scales
        if node.op_type == 'Constant' and node.attribute[0].name == 'value':
            value = node.attribute[0].t
        elif node.op_type == 'Identity' and node.input[0] in constants:
            value = constants[node.input[0]]
        else:
            continue
        graph.initializer.append(value)
        graph.initializer[-1].name = node.output[0]
        constants[node.output[0]] = graph.initializer[-1]
        graph.node.remove(node)
    values: dict[str, Any] = {}

    def value_of(name: str) -> Any:
        if name not in values:
            values[name] = numpy_helper.to_array(constants[name])
        return values[name]

    def add(name: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        constants[name] = graph.initializer[-1]
        return name

    stored = 0
    for node in list(graph.node):
        known = node.op_type == 'QuantizeLinear' and all(
            name in constants for name in node.input
        )
        if not known:
            continue
        weight, scale, zero = (value_of(name) for name in node.input)
        axis = next((item.i for item in node.attribute if item.name == 'axis'), 1)
        shape = [1] * weight.ndim
        if scale.ndim:
            shape[axis] = -1
        whole = np.rint(weight / scale.reshape(shape)).clip(-_ZERO, _ZERO - 1) + _ZERO
        (name,) = node.output
        graph.node.remove(node)
        add(name, whole.astype(np.uint8))
        for reader in graph.node:
            if name in reader.input:
                reader.input[2] = add(
                    f'{name}_zero', np.full_like(zero, _ZERO, np.uint8)
                )
        stored += 1
    for item in list(graph.value_info):  # types of what the nodes gave
        if item.name in constants:
            graph.value_info.remove(item)
    used = {name for node in graph.node for name in node.input}
    used |= {item.name for item in graph.output}
    for item in list(graph.initializer):
        if item.name not in used:
            graph.initializer.remove(item)
    return stored
