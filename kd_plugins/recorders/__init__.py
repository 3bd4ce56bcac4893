"""Read what a layer gives, or takes: attach to an instance, detach cleanly."""

from .layers import find_layer, layer_names
from .recorder import VALUES, LayerRecorder, shadow_method, watch_layer

__all__ = [
    'VALUES',
    'LayerRecorder',
    'find_layer',
    'layer_names',
    'shadow_method',
    'watch_layer',
]
