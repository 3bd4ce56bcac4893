"""A model of the host's whose layers have fewer channels.

An exported config holds the text of :func:`narrowed`, and builds its model where this
package is not installed: it may use torch and mmengine, and imports them inside, since
mmengine takes a config that imports for one in pure Python. Types are written as
text: the names that they use stay behind.
"""

from typing import Any

# The marks between which the text is taken.
# <exported>


def narrowed(of: str, channels: 'dict[str, Any]', **model: 'Any') -> 'Any':
    """Build a model of the host's, and narrow its layers.

    The result is of the host's own class. Layers keep the first of their channels, so
    that weights which are initialised or loaded afterwards have their final shapes.

    Args:
        of: the ``type`` of the host's model, such as 'FasterRCNN'.
        channels: by a layer's dotted name: ``(inputs, outputs)`` of a convolution or a
            linear layer, a number of a norm or of a RoI extractor.
        model: the other keys of the host's model.

    Returns: the model.
    Raises: ValueError, TypeError naming the layer that there is not, or that has no
        channels, or not as many.
    """
    import torch
    from mmengine.registry import MODELS

    def cut(layer: 'Any', name: str, *sizes: int) -> None:
        tensor = getattr(layer, name, None)
        if tensor is None:
            return
        smaller = tensor.detach()[tuple(slice(size) for size in sizes)].clone()
        if isinstance(tensor, torch.nn.Parameter):
            smaller = torch.nn.Parameter(smaller, tensor.requires_grad)
        setattr(layer, name, smaller)

    def narrow_weights(layer: 'Any', inputs: int, outputs: int) -> None:
        if hasattr(layer, 'in_features'):
            layer.in_features, layer.out_features = inputs, outputs
            cut(layer, 'weight', outputs, inputs)
        else:
            if 1 < layer.groups == layer.in_channels:  # depthwise
                layer.groups = inputs
            layer.in_channels, layer.out_channels = inputs, outputs
            sides = (outputs, inputs // layer.groups)
            if layer.transposed:
                sides = (inputs, outputs // layer.groups)
            cut(layer, 'weight', *sides)
        cut(layer, 'bias', outputs)

    def narrow_norm(layer: 'Any', number: int) -> None:
        for name in ('num_features', 'num_channels', 'out_channels'):
            if hasattr(layer, name):
                setattr(layer, name, number)
        if hasattr(layer, 'normalized_shape'):
            layer.normalized_shape = (number,)
        for name in ('weight', 'bias', 'running_mean', 'running_var'):
            cut(layer, name, number)

    built = MODELS.build({'type': of, **model})
    layers = dict(built.named_modules())
    for name, widths in channels.items():
        if name not in layers:
            raise ValueError(f"channels: {of} has no layer '{name}'.")
        layer = layers[name]
        if isinstance(widths, int):
            has = [
                getattr(layer, each)
                for each in ('num_features', 'num_channels', 'out_channels')
                if hasattr(layer, each) and not hasattr(layer, 'in_channels')
            ] or list(getattr(layer, 'normalized_shape', ()))
            had, wanted = has[:1], [widths]
        elif hasattr(layer, 'in_features'):
            had, wanted = [layer.in_features, layer.out_features], list(widths)
        elif hasattr(layer, 'groups') and hasattr(layer, 'transposed'):
            had, wanted = [layer.in_channels, layer.out_channels], list(widths)
        else:
            had, wanted = [], [0]
        if not had:
            raise TypeError(
                f"channels: '{name}' ({type(layer).__name__}) has no such channels."
            )
        fits = len(had) == len(wanted)
        if not fits or not all(0 < n <= m for n, m in zip(wanted, had)):  # noqa: B905
            raise ValueError(
                f"channels: '{name}' has {had} channels, and cannot be narrowed to "
                f'{wanted}.'
            )
        if isinstance(widths, int):
            narrow_norm(layer, widths)
        else:
            narrow_weights(layer, *widths)
    return built


# </exported>
