"""Ranges of what layers read, from some batches, without training."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import nn

from ...errors import ConfigError, DistillationError
from ...host_types import HostModule
from ...quantizers import ObservedActivations, frozen_ranges
from .model import quantized_layers


def calibrate(
    model: HostModule, batches: Iterable[Any], number: int | None = None
) -> int:
    """Widen the range of what each layer reads to all that it reads.

    The model predicts, in ``eval()`` and without gradient.

    Args:
        model: with quantised layers, which compute in float meanwhile.
        batches: as the host's loader gives them.
        number: of batches; None: all.

    Returns: how many batches there were.
    Raises: DistillationError naming the layer if one read no number.
    """
    modes = {module: module.training for module in model.modules()}
    ranges = observed(model)
    model.eval()
    seen = 0
    try:
        for quantizer in ranges.values():
            quantizer.start_widening()
        with torch.no_grad(), frozen_ranges():
            for batch in islice(batches, number):
                model.test_step(batch)
                seen += 1
    finally:
        for quantizer in ranges.values():
            quantizer.stop_widening()
        for module, mode in modes.items():
            module.training = mode
    for name, quantizer in ranges.items():
        span = quantizer.maximum - quantizer.minimum
        if quantizer.is_observed and not torch.isfinite(span):
            raise DistillationError(
                f"'{name}' read values that are no finite numbers while calibrating: "
                f'{float(quantizer.minimum):g} to {float(quantizer.maximum):g}. The '
                f"float model is broken, or add to float_layers: '{name}'."
            )
    check_calibrated(model)
    return seen


def observed(model: nn.Module) -> dict[str, ObservedActivations]:
    """Ranges of what layers read, by the layers' names."""
    return {
        name: layer.input_quantizer
        for name, layer in quantized_layers(model).items()
        if isinstance(layer.input_quantizer, ObservedActivations)
    }


def check_calibrated(model: nn.Module) -> None:
    """Refuse a quantised model that computes in float, as no layer has a range.

    Some may have none: heads that train and do not predict.

    Args:
        model: any.

    Raises: ConfigError.
    """
    ranges = observed(model)
    if ranges and not any(item.is_observed for item in ranges.values()):
        raise ConfigError(
            f'none of the {len(ranges)} quantised layers knows the range of what it '
            'reads: expected a checkpoint of the quantised model, got one of its float '
            'weights. Calibrate it (tools/quantize.py), or train it.'
        )
