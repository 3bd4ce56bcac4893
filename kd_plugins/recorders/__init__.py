"""Read what a layer gives, or takes: attach to an instance, detach cleanly."""

from .layers import find_layer, layer_names
from .recorder import VALUES, LayerRecorder, record_layer, record_method

__all__ = [
    'VALUES',
    'LayerRecorder',
    'find_layer',
    'layer_names',
    'record_layer',
    'record_method',
]
