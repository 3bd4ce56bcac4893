"""Fidelity of a student to its teacher, and calibration of both.

Pure functions on rows of logits, features or boxes, and their sums over a data set. The
sums do not depend on the batch size.
"""

from .agreement import agreement, binary_divergence, predictive_divergence
from .boxes import Boxes, BoxFidelity, box_iou, match_boxes
from .calibration import calibration_bins, calibration_error, expected_calibration_error
from .cka import FeatureMoments, feature_rows, linear_cka
from .pixels import PixelFidelity, sample_pixels
from .rois import RoIFidelity
from .teacher import TeacherPredictions

__all__ = [
    'BoxFidelity',
    'Boxes',
    'FeatureMoments',
    'PixelFidelity',
    'RoIFidelity',
    'TeacherPredictions',
    'agreement',
    'binary_divergence',
    'box_iou',
    'calibration_bins',
    'calibration_error',
    'expected_calibration_error',
    'feature_rows',
    'linear_cka',
    'match_boxes',
    'predictive_divergence',
    'sample_pixels',
]
