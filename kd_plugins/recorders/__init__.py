"""Read what a layer gives: attach to an instance, detach cleanly."""

from .layers import find_layer, layer_names
from .recorder import LayerRecorder, shadow_method

__all__ = ['LayerRecorder', 'find_layer', 'layer_names', 'shadow_method']
