"""Views: matched tensors of student and teacher, head by head."""

from ..hosts import required  # noqa: F401
from .base import MatchedTensors, Side, TensorSpec
from .binding import bind
from .build import build_view
from .dense.cross_head import (
    CrossBoxesView,
    CrossCenternessView,
    CrossDistributionsView,
    CrossLogitsView,
)
from .dense.view import DenseDeltasView, DenseDistributionsView, DenseLogitsView
from .depth.view import DepthMapView
from .layer.flow import FlowView
from .layer.view import LayerView
from .probe import Probe
from .roi.masks import RoIMasksView
from .roi.view import RoIDeltasView, RoIFeaturesView, RoILogitsView
from .rpn.view import RPNDeltasView, RPNLogitsView
from .run import FrozenRun, ModelRun, run_until
from .seg.gradient import SegGradientView
from .seg.view import SegFeaturesView, SegLogitsView
from .transformer.encoder import EncoderMemoryView
from .view import BoundView, View

__all__ = [
    'BoundView',
    'CrossBoxesView',
    'CrossCenternessView',
    'CrossDistributionsView',
    'CrossLogitsView',
    'DenseDeltasView',
    'DenseDistributionsView',
    'DenseLogitsView',
    'DepthMapView',
    'EncoderMemoryView',
    'FlowView',
    'FrozenRun',
    'LayerView',
    'MatchedTensors',
    'ModelRun',
    'Probe',
    'RPNDeltasView',
    'RPNLogitsView',
    'RoIDeltasView',
    'RoIFeaturesView',
    'RoILogitsView',
    'RoIMasksView',
    'SegFeaturesView',
    'SegGradientView',
    'SegLogitsView',
    'Side',
    'TensorSpec',
    'View',
    'bind',
    'build_view',
    'run_until',
]
