"""Views: matched tensors of student and teacher, head by head."""

from .base import Capture, Matched, Place, View
from .build import build_view
from .dense import DenseHeadView
from .depth import DepthView
from .flow import FlowView
from .layer import LayerView
from .probe import Probe
from .roi import RoIView
from .rpn import RPNView
from .run import ModelRun, attached
from .seg import SegView
from .step import Step

__all__ = [
    'Capture',
    'DenseHeadView',
    'DepthView',
    'FlowView',
    'LayerView',
    'Matched',
    'ModelRun',
    'Place',
    'Probe',
    'RPNView',
    'RoIView',
    'SegView',
    'Step',
    'View',
    'attached',
    'build_view',
]
