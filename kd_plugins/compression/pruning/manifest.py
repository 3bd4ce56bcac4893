"""The config of a narrower model: which layers have how many channels."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from torch import nn

from ...config_files import imports_for, type_name
from ...errors import ConfigError
from ...host_types import HostModule
from . import narrowed as _source

NAME = 'Narrowed'
TYPE = f'kd_plugins.{NAME}'
Channels = dict[str, int | tuple[int, int]]

_MARKS = ('# <exported>\n', '# </exported>')
_HEADER = (
    '# Written by kd_plugins: a model with fewer channels than its host builds. The\n'
    '# functions build it where kd_plugins is not installed. What mmengine writes\n'
    '# into a work folder lacks them: keep this file.\n'
    # With it, mmengine does not take imports for a config in pure Python.
    '_base_ = []\n'
)
_REGISTER = '''

def register_narrowed():
    """Make it known as 'kd_plugins.Narrowed', unless kd_plugins is there."""
    from importlib.util import find_spec

    from mmengine.registry import MODELS, Registry

    if find_spec('kd_plugins') is not None:
        __import__('kd_plugins')
        return
    scope = MODELS.children.get('kd_plugins')
    if scope is None:
        scope = Registry('model', parent=MODELS, scope='kd_plugins')
    scope.register_module(name='Narrowed', force=True, module=narrowed)


register_narrowed()
'''


def is_narrowed(model: Mapping[str, Any]) -> bool:
    """Whether a model config is of a narrower model."""
    return type_name(model.get('type')) == NAME


def whole_model(model: Mapping[str, Any]) -> ConfigDict:
    """The config of the host's model, before its layers were narrowed."""
    whole = ConfigDict(copy.deepcopy(dict(model)))
    if is_narrowed(whole):
        whole.type = whole.pop('of')
        whole.pop('channels')
    return whole


def narrowed_model(model: Mapping[str, Any], channels: Channels) -> ConfigDict:
    """The config of a narrower model.

    Args:
        model: of the host, or of a narrower one.
        channels: as :func:`channels_of` gives them, of the host's model.
    """
    whole = whole_model(model)
    if not channels:
        return whole
    kind = whole.pop('type')
    kind = kind if isinstance(kind, str) else f'{kind.__module__}.{kind.__name__}'
    return ConfigDict(type=TYPE, of=kind, channels=dict(channels), **whole)


def channels_of(whole: nn.Module, narrower: nn.Module) -> Channels:
    """The channels of all layers in which two models of one host's class differ.

    Args:
        whole: as the host builds it.
        narrower: with as many or fewer channels.

    Raises: ConfigError for a layer of another shape that has no channels to name.
    """
    channels: Channels = {}
    layers = dict(narrower.named_modules())
    for name, layer in whole.named_modules():
        other = layers[name]
        now = _channels(other)
        if now is not None and now != _channels(layer):
            channels[name] = now
        elif now is None and _shapes(layer) != _shapes(other):
            raise ConfigError(
                f"'{name}' ({type(other).__name__}) cannot be pruned: its channels are "
                'not those of a convolution, a linear layer or a norm. Keep it as it '
                f"is: keep '{name}'.",
            )
    return channels


def _channels(layer: HostModule) -> int | tuple[int, int] | None:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if isinstance(layer, nn.modules.conv._ConvNd):
        return layer.in_channels, layer.out_channels
    if isinstance(layer, nn.LayerNorm):
        return layer.normalized_shape[-1]
    for name in ('num_features', 'num_channels'):
        if hasattr(layer, name) and hasattr(layer, 'weight'):
            return int(getattr(layer, name))
    if hasattr(layer, 'roi_layers'):
        return int(layer.out_channels)
    return None


def _shapes(layer: nn.Module) -> list[Any]:
    tensors = (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
    return [each.shape for each in tensors]


def config_text(cfg: Config) -> str:
    """A config as a file: of a narrower model one that needs the host alone.

    Args:
        cfg: whole; ``custom_imports`` says what else it needs.
    """
    if not is_narrowed(cfg.get('model') or {}):
        text: str = cfg.pretty_text
        return text
    content = {key: value for key, value in cfg.to_dict().items() if key != 'model'}
    imports = imports_for(content)
    cfg = copy.deepcopy(cfg)
    cfg.pop('custom_imports', None)
    if imports:
        cfg.custom_imports = imports
    return f'{_HEADER}{_exported()}{_REGISTER}\n\n{cfg.pretty_text}'


def _exported() -> str:
    """The text of the builder."""
    text = Path(str(_source.__file__)).read_text()
    start, end = _MARKS
    return text.partition(start)[2].partition(end)[0].rstrip('\n')
