"""Pseudo-labels: what teachers say of images without labels, as files of a data set."""

from .fusion import suppressed, weighted_box_fusion
from .make import PseudoLabels, make_pseudo_labels
from .maps import label_map, most_probable, read_soft_labels
from .options import PseudoLabelOptions

__all__ = [
    'PseudoLabelOptions',
    'PseudoLabels',
    'label_map',
    'make_pseudo_labels',
    'most_probable',
    'read_soft_labels',
    'suppressed',
    'weighted_box_fusion',
]
