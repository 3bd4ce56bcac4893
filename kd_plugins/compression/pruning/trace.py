"""A real forward of a host's model, through all heads that run on features alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ...host_types import HostModule

_COUNTED = (nn.modules.conv._ConvNd, nn.Linear)
# What runs once for each RoI that a test keeps, by the key of the model's test_cfg that
# says how many, and how many where it does not.
_IN_ROIS = (('roi_head', 'rpn', 1000), ('roi_head.mask_head', 'rcnn', 100))


@dataclass
class Traced:
    """What a forward gave.

    Attributes:
        outputs: of the heads; of a part that cannot be traced, its inputs.
        untraced: heads that were not run, since they need more than features.
    """

    outputs: list[Tensor] = field(default_factory=list)
    untraced: list[str] = field(default_factory=list)


def trace(model: HostModule, images: Tensor) -> Traced:
    """Run a detector or segmentor on images, heads included.

    RoI heads are given the features of each level, pooled to the size of a RoI, one RoI
    an image, instead of the RoIs of proposals: what is not differentiable is left out,
    and every layer of the heads runs.

    Args:
        model: in ``eval()``.
        images: (N, 3, H, W), preprocessed.
    """
    traced = Traced()
    features = model.extract_feat(images)
    features = list(features) if isinstance(features, (list, tuple)) else [features]
    heads = [name for name in ('decode_head', 'auxiliary_head') if _has(model, name)]
    for name in heads:
        _trace_decode_heads(model, name, features, traced)
    for name in ('rpn_head', 'bbox_head', 'mask_head'):
        if _has(model, name):
            _run(getattr(model, name), name, (features,), features, traced)
            heads.append(name)
    if _has(model, 'roi_head'):
        _trace_roi_head(model.roi_head, features, traced)
        heads.append('roi_head')
    others = [
        name
        for name, child in model.named_children()
        if name not in (*heads, 'backbone', 'neck', 'data_preprocessor')
        and any(True for _ in child.parameters())
    ]
    if others or not heads:
        traced.untraced += others
        traced.outputs += features
    return traced


def _has(model: HostModule, name: str) -> bool:
    return isinstance(getattr(model, name, None), nn.Module)


def _run(
    head: nn.Module,
    name: str,
    arguments: tuple[Any, ...],
    inputs: list[Tensor],
    traced: Traced,
) -> Any:
    """Run a head; one that wants more than features keeps its inputs as they are."""
    try:
        output = head.forward(*arguments)
    except TypeError:  # of the number of arguments
        traced.untraced.append(name)
        traced.outputs += inputs
        return None
    traced.outputs += [each for each in _tensors(output) if each.is_floating_point()]
    return output


def _trace_decode_heads(
    model: HostModule, name: str, features: list[Tensor], traced: Traced
) -> None:
    heads = getattr(model, name)
    several = isinstance(heads, nn.ModuleList)
    previous = None
    for number, head in enumerate(heads if several else [heads]):
        each = f'{name}.{number}' if several else name
        # The later heads of a cascade refine what the one before gave.
        cascaded = previous is not None and name == 'decode_head'
        arguments = (features, previous) if cascaded else (features,)
        previous = _run(head, each, arguments, features, traced)


def _trace_roi_head(head: HostModule, features: list[Tensor], traced: Traced) -> None:
    for branch in ('bbox', 'mask'):
        if not _has(head, f'{branch}_head'):
            continue
        extractor = getattr(head, f'{branch}_roi_extractor', None)
        extractor = head.bbox_roi_extractor if extractor is None else extractor
        branches = getattr(head, f'{branch}_head')
        several = isinstance(branches, nn.ModuleList)
        extractors = extractor if isinstance(extractor, nn.ModuleList) else [extractor]
        for number, each in enumerate(branches if several else [branches]):
            layer: Any = extractors[min(number, len(extractors) - 1)]
            pooled = _pooled(layer, features)
            if _has(head, 'shared_head'):
                pooled = head.shared_head(pooled)
            name = f'roi_head.{branch}_head{f".{number}" if several else ""}'
            _run(each, name, (pooled,), [pooled], traced)
    known = ('bbox_head', 'mask_head', 'shared_head')
    for name, child in head.named_children():
        if name not in known and any(True for _ in child.parameters()):
            traced.untraced.append(f'roi_head.{name}')
            traced.outputs += features


def _pooled(extractor: HostModule, features: list[Tensor]) -> Tensor:
    """One RoI an image: all levels added, since RoIs of each go through one head."""
    size = extractor.roi_layers[0].output_size
    levels = features[: len(extractor.roi_layers)]
    pooled = [adaptive_avg_pool2d(level, size) for level in levels]
    total = pooled[0]
    for other in pooled[1:]:
        total = total + other
    return total


def _tensors(content: object) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for item in content.values():
            yield from _tensors(item)
    elif isinstance(content, (list, tuple)):
        for item in content:
            yield from _tensors(item)


class Cost:
    """Multiply-adds of the convolutions and linear layers of a model, and its weights.

    What surrounds them, and products of attention, is not counted. A layer that is
    pruned runs at as many positions as before, so that the model runs once.

    Args:
        model: before it is pruned.
        images: (1, 3, H, W), of the size for which it is counted.
    """

    def __init__(self, model: HostModule, images: Tensor) -> None:
        self._model = model
        self._positions: dict[nn.Module, float] = {}
        cfg = getattr(model, 'test_cfg', None) or {}
        runs = {
            layer: (cfg.get(stage) or {}).get('max_per_img', default)
            for part, stage, default in _IN_ROIS
            for layer in _modules_of(model, part)
        }

        def count(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
            width = (
                output.shape[-1] if isinstance(layer, nn.Linear) else output.shape[1]
            )
            number = output.numel() / width * runs.get(layer, 1)
            self._positions[layer] = self._positions.get(layer, 0) + number

        handles = [
            layer.register_forward_hook(count)
            for layer in model.modules()
            if isinstance(layer, _COUNTED)
        ]
        try:
            with torch.no_grad():
                trace(model, images)
        finally:
            for handle in handles:
                handle.remove()

    def flops(self) -> float:
        """Multiply-adds as the model is now."""
        return sum(
            number * _per_position(layer) for layer, number in self._positions.items()
        )

    def parameters(self) -> int:
        """Number of parameters as the model is now."""
        return sum(parameter.numel() for parameter in self._model.parameters())


def _modules_of(model: nn.Module, path: str) -> Iterator[nn.Module]:
    part: Any = model
    for name in path.split('.'):
        part = getattr(part, name, None)
    if isinstance(part, nn.Module):
        yield from part.modules()


def _per_position(layer: Any) -> float:
    # Of a transposed convolution, each input meets each weight: it runs at as many
    # positions as it has outputs, divided by its strides.
    number = float(layer.weight.numel())
    if getattr(layer, 'transposed', False):
        for stride in layer.stride:
            number /= stride
    return number
