"""Views: matched tensors of student and teacher, head by head."""

from ..hosts import required  # noqa: F401
from .base import MatchedTensors, Place, Recorder, View
from .build import build_view
from .dense.cross_head import CrossHeadView
from .dense.view import DenseHeadView
from .depth.view import DepthView
from .layer.flow import FlowView
from .layer.view import LayerView
from .probe import Probe
from .roi.view import RoIView
from .rpn.view import RPNView
from .run import ModelRun, attached
from .seg.gradient import SegGradientView
from .seg.view import SegView
from .step import Step
from .transformer.encoder import EncoderView

__all__ = [
    'CrossHeadView',
    'DenseHeadView',
    'DepthView',
    'EncoderView',
    'FlowView',
    'LayerView',
    'MatchedTensors',
    'ModelRun',
    'Place',
    'Probe',
    'RPNView',
    'Recorder',
    'RoIView',
    'SegGradientView',
    'SegView',
    'Step',
    'View',
    'attached',
    'build_view',
]
