"""Layers by dotted name."""

from torch import nn

from ..errors import ConfigError, nearest


def layer_names(model: nn.Module) -> list[str]:
    """Dotted names of all layers, the model itself left out."""
    names = [name for name, _ in model.named_modules()]
    return [name for name in names if name and name != 'data_preprocessor']


def find_layer(model: nn.Module, path: str) -> nn.Module:
    """The layer of this dotted name.

    Args:
        model: student or teacher.
        path: such as 'neck' or 'backbone.layer4.1.bn2'.

    Raises: ConfigError if there is no such layer, with the nearest names, or if it lies
        inside a block with activation checkpointing, whose outputs are recorded
        without a gradient.
    """
    layers = dict(model.named_modules())
    if path not in layers or not path:
        raise ConfigError(
            f"{type(model).__name__} has no layer '{path}'. "
            f'{nearest(path, layer_names(model))}'
        )
    parts = path.split('.')
    for depth in range(1, len(parts)):
        outer = '.'.join(parts[:depth])
        if _checkpoints(layers[outer]):
            raise ConfigError(
                f"'{path}' lies inside '{outer}', which runs with activation "
                'checkpointing (with_cp=True): what is recorded there carries no '
                f"gradient. Record '{outer}' itself, or set with_cp=False."
            )
    layer: nn.Module = layers[path]
    return layer


def _checkpoints(block: nn.Module) -> bool:
    """Whether this module itself runs its layers a second time in backward.

    A backbone keeps the option too, only to hand it to its blocks.
    """
    inner = (module for module in block.modules() if module is not block)
    return bool(getattr(block, 'with_cp', False)) and not any(
        getattr(module, 'with_cp', False) for module in inner
    )
