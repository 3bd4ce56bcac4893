"""Host hooks: checkpoints, random state, the clock of weight schedules, the summary.

And the pairs' gradients beside the task's, by which weights are balanced; for who asks
for them, how well the student matches its teacher, and pictures of both; pseudo-labels,
weights of boxes, mixed batches; weights that are pruned, and points of quantised ones.
"""

from .box_weights import BoxWeightsHook
from .checkpoint import AtomicCheckpointHook
from .classes import ClassNamesHook
from .clock import ClockHook
from .fast_teacher import FastTeacherHook
from .fidelity import FidelityHook
from .gradient_shares import GradientSharesHook
from .mixed_batches import MixedBatchesHook
from .pictures import DistillationPicturesHook
from .prune import PruneHook
from .pseudo_labels import PseudoLabelsHook
from .random_state import RandomStateHook
from .share_points import SharePointsHook
from .summary import SummaryHook

__all__ = [
    'AtomicCheckpointHook',
    'BoxWeightsHook',
    'ClassNamesHook',
    'ClockHook',
    'DistillationPicturesHook',
    'FastTeacherHook',
    'FidelityHook',
    'GradientSharesHook',
    'MixedBatchesHook',
    'PruneHook',
    'PseudoLabelsHook',
    'RandomStateHook',
    'SharePointsHook',
    'SummaryHook',
]
