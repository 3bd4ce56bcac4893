"""More values for the layers whose weights the loss feels more."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn

from ...checks import check_int
from ...compression.quantization import QuantizedConv2d, QuantizedLinear
from ...distillers.interface import unwrap
from ...errors import ConfigError
from ...quantizers import PointWeights, redistributed
from ...registry import HOOKS
from ._batches import training_batches

_SEED = 1802  # of the batches, and of what the model draws


@HOOKS.register_module()
class SharePointsHook(Hook):
    """Shares the points of a quantised model out anew, before it trains.

    Each layer keeps half of its points; the other halves go to the layers in proportion
    to the norm of the loss's gradient by their quantised weights, of some batches
    (:func:`~kd_plugins.quantizers.redistributed`). A run that is resumed has them.

    Args:
        batches: whose gradients are averaged, >= 1.

    Raises: ConfigError for a model without learnt points, of which some have too few,
        or of which not all layers have as many; in several processes.

    Source: Polino et al., Model compression via distillation and quantization, ICLR
        2018, https://arxiv.org/abs/1802.05668, section 4.1.
    """

    priority = 'NORMAL'

    def __init__(self, batches: int = 5) -> None:
        self.batches = check_int('batches', batches)

    def before_train(self, runner: Runner) -> None:
        if runner.iter > 0:
            return
        model: Any = unwrap(runner.model)
        layers = point_layers(model)
        sizes = {len(layer.weight_quantizer.points) for layer in layers.values()}
        if len(sizes) != 1 or min(sizes) < 4:
            raise ConfigError(
                'SharePointsHook shares the points of layers that have as many, 4 or '
                "more: expected weights=dict(type='PointWeights', points=16), got "
                + (f'{sorted(sizes)} points.' if sizes else 'no layer with points.')
            )
        if get_world_size() > 1:
            raise ConfigError(
                'SharePointsHook changes the size of parameters, which several '
                'processes cannot follow. Train in one process, or remove the hook.'
            )
        norms = _gradient_norms(runner, model, layers, self.batches)
        shares = redistributed(sizes.pop(), norms)
        for name, layer in layers.items():
            weight, _ = layer.folded()
            layer.weight_quantizer.start(weight, shares[name])
            layer.weight_quantizer.points.grad = None
        print_log(f'Points of each layer: {shares}', 'current')


def point_layers(model: nn.Module) -> dict[str, Any]:
    """Layers whose weights become learnt points, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (QuantizedConv2d, QuantizedLinear))
        and isinstance(module.weight_quantizer, PointWeights)
    }


def _gradient_norms(
    runner: Runner, model: Any, layers: Mapping[str, Any], batches: int
) -> dict[str, float]:
    """Norm of the mean gradient by each layer's quantised weights."""
    sums: dict[str, Tensor] = {}
    for batch in training_batches(runner, batches, _SEED):
        data = model.data_preprocessor(batch, True)
        with _recording(layers) as outputs:
            losses = model(**data, mode='loss')
            model.parse_losses(losses)[0].backward()
        for name, found in outputs.items():
            for output in found:
                if output.grad is not None:
                    sums[name] = sums.get(name, 0) + output.grad
    model.zero_grad()
    return {name: float(sums[name].norm()) if name in sums else 0.0 for name in layers}


@contextmanager
def _recording(layers: Mapping[str, Any]) -> Iterator[dict[str, list[Tensor]]]:
    """What the quantisers give, within the block, with gradients."""
    outputs: dict[str, list[Tensor]] = {name: [] for name in layers}

    def keeping(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if output.requires_grad:
                output.retain_grad()
                outputs[name].append(output)

        return keep

    handles = [
        layer.weight_quantizer.register_forward_hook(keeping(name))
        for name, layer in layers.items()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
