"""A model of a host whose convolutions and fully connected layers are quantised."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from mmcv.cnn import Linear as MMLinear
from mmengine.logging import print_log
from torch import nn

from ...build import build
from ...checks import check_bool
from ...errors import ConfigError, located, nearest
from ...folding import CONVOLUTIONS, foldable
from ...host_types import HostModule
from ...registry import MODELS, QUANTIZERS
from ...teachers import model_config
from .layers import FoldedNorm, QuantizedConv2d, QuantizedLayer, QuantizedLinear

# These very classes: what inherits from them may compute something else.
_LINEAR = (nn.Linear, MMLinear)
_WEIGHTS: Mapping[str, Any] = {'type': 'UniformWeights', 'bits': 8}
_ACTIVATIONS: Mapping[str, Any] = {'type': 'ObservedActivations', 'bits': 8}


@MODELS.register_module(name='Quantized')
def quantized_model(
    model: dict[str, Any] | HostModule,
    *,
    weights: Mapping[str, Any] = _WEIGHTS,
    activations: Mapping[str, Any] | None = _ACTIVATIONS,
    float_layers: Sequence[str] = (),
    fold_norms: bool = True,
    data_preprocessor: dict[str, Any] | None = None,
) -> HostModule:
    """The host's own model, in which layers compute with quantised weights.

    Convolutions and fully connected layers change their class and keep their place,
    their parameters and their names: a plain checkpoint loads, and gradients reach the
    float weights. What is not of these two kinds (transposed, deformable, attention)
    stays float.

    Args:
        model: a model dict, or ``dict(cfg='mmdet::...')``; or a model that is built.
        weights: quantiser of the weights, each layer has one of its own; default
            ``dict(type='UniformWeights', bits=8)``.
        activations: quantiser of what each layer reads; None: float; default
            ``dict(type='ObservedActivations', bits=8)``.
        float_layers: dotted names or globs of layers that stay float.
        fold_norms: let a convolution compute the batch norm behind it, whose statistics
            stay as they are, as a deployed model does; if not, norms stay float, and
            their statistics move.
        data_preprocessor: where the model's own configuration has none.

    Raises: ConfigError for a name that no layer has, or if none is left.
    """
    check_bool('fold_norms', fold_norms)
    if isinstance(model, nn.Module):
        built: HostModule = model
    else:
        with located('model'):
            cfg = model_config(model)
            if data_preprocessor is not None:
                cfg.setdefault('data_preprocessor', data_preprocessor)
            built = MODELS.build(cfg)
    names = _chosen(built, float_layers)
    norms = dict(_norms(built)) if fold_norms else {}
    places = _places(built)
    learns_weights = True
    for name in names:
        before = built.get_submodule(name)
        with located('weights'):
            weight_quantizer = build(QUANTIZERS, weights)
        learns_weights = weight_quantizer.trains_weights
        with located('activations'):
            inputs = None if activations is None else build(QUANTIZERS, activations)
        layer: QuantizedLayer
        if isinstance(before, nn.Linear):
            layer = QuantizedLinear(before, weight_quantizer, inputs)
        else:
            norm = _fold(norms.get(id(before)))
            conv = cast(nn.Conv2d, before)
            layer = QuantizedConv2d(conv, weight_quantizer, inputs, norm)
        layer.train(before.training)
        for parent, child in places[id(before)]:
            parent._modules[child] = layer
    if not learns_weights:
        _freeze_all_but_quantizers(built)
    print_log(_summary(built), 'current')
    return built


def quantized_layers(model: nn.Module) -> dict[str, QuantizedLayer]:
    """Layers of a model that are quantised, by their dotted names."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (QuantizedConv2d, QuantizedLinear))
    }


def _chosen(model: nn.Module, float_layers: Sequence[str]) -> list[str]:
    """Names of the layers to quantise; a layer at several places has its first name."""
    known = [
        name
        for name, module in model.named_modules()
        if type(module) in (*CONVOLUTIONS, *_LINEAR)
    ]
    for pattern in float_layers:
        if not any(_matches(name, pattern) for name in known):
            raise ConfigError(
                f"no layer is called '{pattern}'. {nearest(pattern, known)}",
                'float_layers',
            )
    kept = [
        name
        for name in known
        if not any(_matches(name, pattern) for pattern in float_layers)
    ]
    if not kept:
        raise ConfigError(
            f'{type(model).__name__} has {len(known)} convolutions and fully connected '
            'layers that can be quantised, and none is left. Change float_layers, or '
            'choose another model.'
        )
    return kept


def _matches(name: str, pattern: str) -> bool:
    """Of the name itself, or of what it lies in."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f'{pattern}.*')


def _norms(model: nn.Module) -> Iterator[tuple[int, tuple[nn.Module, str]]]:
    """By convolution: the block that holds the norm behind it, and its name there."""
    for block, name, norm_name in foldable(model):
        yield id(getattr(block, name)), (block, norm_name)


def _fold(place: tuple[nn.Module, str] | None) -> FoldedNorm | None:
    if place is None:
        return None
    block, name = place
    norm = FoldedNorm(getattr(block, name))
    block._modules[name] = norm
    return norm


def _places(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Where each module stands: heads may share one over their levels."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for parent in model.modules():
        for name, child in parent._modules.items():
            places.setdefault(id(child), []).append((parent, name))
    return places


def _freeze_all_but_quantizers(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for layer in quantized_layers(model).values():
        for parameter in layer.weight_quantizer.parameters():
            parameter.requires_grad_(True)


def _summary(model: nn.Module) -> str:
    layers = quantized_layers(model).values()
    convs = [layer for layer in layers if isinstance(layer, QuantizedConv2d)]
    folded = sum(layer._norm != (None,) for layer in convs)
    others = set()
    for module in model.modules():
        weight = getattr(module, 'weight', None)
        if (
            isinstance(weight, nn.Parameter)
            and weight.dim() > 1
            and not isinstance(module, (QuantizedConv2d, QuantizedLinear))
        ):
            others.add(type(module).__name__)
    first = next(iter(layers))
    return (
        f'Quantised: {len(convs)} convolutions ({folded} with the norm behind them), '
        f'{len(layers) - len(convs)} fully connected layers; weights '
        f'{first.weight_quantizer}, what they read {first.input_quantizer}.'
        + (f' In float: {", ".join(sorted(others))}.' if others else '')
    )
