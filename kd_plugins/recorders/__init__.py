"""Read what a layer gives, or takes: attach to an instance, detach cleanly."""

from .base import Recorder, Records, recording
from .layers import find_layer, layer_names
from .method import record_method
from .recorder import VALUES, LayerRecord, LayerRecorder

__all__ = [
    'VALUES',
    'LayerRecord',
    'LayerRecorder',
    'Recorder',
    'Records',
    'find_layer',
    'layer_names',
    'record_method',
    'recording',
]
