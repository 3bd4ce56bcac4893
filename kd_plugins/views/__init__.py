"""Views: matched tensors of student and teacher, head by head."""

from .base import Capture, Matched, Place, View
from .build import build_view
from .cross_head import CrossHeadView
from .dense import DenseHeadView
from .depth import DepthView
from .encoder import EncoderView
from .flow import FlowView
from .layer import LayerView
from .probe import Probe
from .roi import RoIView
from .rpn import RPNView
from .run import ModelRun, attached
from .seg import SegView
from .seg_gradient import SegGradientView
from .step import Step

__all__ = [
    'Capture',
    'CrossHeadView',
    'DenseHeadView',
    'DepthView',
    'EncoderView',
    'FlowView',
    'LayerView',
    'Matched',
    'ModelRun',
    'Place',
    'Probe',
    'RPNView',
    'RoIView',
    'SegGradientView',
    'SegView',
    'Step',
    'View',
    'attached',
    'build_view',
]
