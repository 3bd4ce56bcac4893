"""Distillation losses: pure functions on tensors, and thin registered modules."""

from kd_plugins.losses._base import (
    AuxiliaryOptimizer,
    DistillationLoss,
    LossContext,
    StepData,
)
from kd_plugins.losses.ab import ABLoss, activation_boundary
from kd_plugins.losses.aht import AHTLoss, attentive_hint
from kd_plugins.losses.ail import AILLoss, attentive_imitation
from kd_plugins.losses.at import ATLoss, attention_transfer
from kd_plugins.losses.bake import BAKELoss, batch_ensembled_divergence
from kd_plugins.losses.bdkd import BDKDLoss, balanced_divergence
from kd_plugins.losses.box_iou import BoxIoULoss, box_iou_distance
from kd_plugins.losses.cc import CCLoss, correlation_congruence
from kd_plugins.losses.cirkd import CIRKDLoss
from kd_plugins.losses.contrastive_nce import (
    blend_into_bank,
    contrastive_nce,
    nce_normalizer,
)
from kd_plugins.losses.crd import CRDLoss, info_nce
from kd_plugins.losses.cross_image import cross_image_divergence, memory_divergence
from kd_plugins.losses.crosskd import CrossKDLoss, quality_focal_distance
from kd_plugins.losses.cwd import CWDLoss, channel_wise_divergence
from kd_plugins.losses.darkrank import DarkRankLoss, cross_sample_ranking
from kd_plugins.losses.delta_l2 import DeltaL2Loss, delta_l2
from kd_plugins.losses.dist import DISTLoss, class_correlation
from kd_plugins.losses.dkd import DKDLoss, decoupled_divergence
from kd_plugins.losses.fbkd import FBKDLoss, feature_based_distance
from kd_plugins.losses.fgd import FGDLoss, focal_distance, global_distance
from kd_plugins.losses.fsp import FSPLoss, flow_distance, flow_matrix
from kd_plugins.losses.gradient_at import (
    GradientATLoss,
    gradient_attention_transfer,
)
from kd_plugins.losses.hint import HintLoss, hint_distance
from kd_plugins.losses.holistic import (
    HolisticLoss,
    critic_objective,
    gradient_penalty,
)
from kd_plugins.losses.kd import KDLoss, softened_divergence
from kd_plugins.losses.label_smoothing import (
    LabelSmoothingLoss,
    label_smoothed_cross_entropy,
)
from kd_plugins.losses.ld import LDLoss, localization_divergence
from kd_plugins.losses.logit_l2 import LogitL2Loss, logit_l2
from kd_plugins.losses.maskd import MasKDLoss, mask_overlap, masked_distance
from kd_plugins.losses.mgd import MGDLoss, generation_distance, random_keep
from kd_plugins.losses.nkd import NKDLoss, normalized_cross_entropy
from kd_plugins.losses.nst import NSTLoss, selectivity_discrepancy
from kd_plugins.losses.ofd import OFDLoss, negative_mean, partial_l2
from kd_plugins.losses.pair_wise import PairWiseLoss, pair_wise_affinity
from kd_plugins.losses.pixel_wise import PixelWiseLoss, pixel_wise_divergence
from kd_plugins.losses.pkd import PKDLoss, standardized_distance
from kd_plugins.losses.rkd import RKDLoss, relational_difference
from kd_plugins.losses.sp import SPLoss, similarity_preservation
from kd_plugins.losses.teacher_bounded import (
    TeacherBoundedLoss,
    teacher_bounded_regression,
)
from kd_plugins.losses.tfnkd import TfNKDLoss, teacher_free_cross_entropy
from kd_plugins.losses.uskd import USKDLoss, self_distillation
from kd_plugins.losses.weighted_class_kd import (
    WeightedClassKDLoss,
    weighted_class_kd,
)
from kd_plugins.losses.zipf_label_smoothing import (
    ZipfLabelSmoothingLoss,
    zipf_divergence,
)

__all__ = [
    'ABLoss',
    'AHTLoss',
    'AILLoss',
    'ATLoss',
    'AuxiliaryOptimizer',
    'BAKELoss',
    'BDKDLoss',
    'BoxIoULoss',
    'CCLoss',
    'CIRKDLoss',
    'CRDLoss',
    'CWDLoss',
    'CrossKDLoss',
    'DISTLoss',
    'DKDLoss',
    'DarkRankLoss',
    'DeltaL2Loss',
    'DistillationLoss',
    'FBKDLoss',
    'FGDLoss',
    'FSPLoss',
    'GradientATLoss',
    'HintLoss',
    'HolisticLoss',
    'KDLoss',
    'LDLoss',
    'LabelSmoothingLoss',
    'LogitL2Loss',
    'LossContext',
    'MGDLoss',
    'MasKDLoss',
    'NKDLoss',
    'NSTLoss',
    'OFDLoss',
    'PKDLoss',
    'PairWiseLoss',
    'PixelWiseLoss',
    'RKDLoss',
    'SPLoss',
    'StepData',
    'TeacherBoundedLoss',
    'TfNKDLoss',
    'USKDLoss',
    'WeightedClassKDLoss',
    'ZipfLabelSmoothingLoss',
    'activation_boundary',
    'attention_transfer',
    'attentive_hint',
    'attentive_imitation',
    'balanced_divergence',
    'batch_ensembled_divergence',
    'blend_into_bank',
    'box_iou_distance',
    'channel_wise_divergence',
    'class_correlation',
    'contrastive_nce',
    'correlation_congruence',
    'critic_objective',
    'cross_image_divergence',
    'cross_sample_ranking',
    'decoupled_divergence',
    'delta_l2',
    'feature_based_distance',
    'flow_distance',
    'flow_matrix',
    'focal_distance',
    'generation_distance',
    'global_distance',
    'gradient_attention_transfer',
    'gradient_penalty',
    'hint_distance',
    'info_nce',
    'label_smoothed_cross_entropy',
    'localization_divergence',
    'logit_l2',
    'mask_overlap',
    'masked_distance',
    'memory_divergence',
    'nce_normalizer',
    'negative_mean',
    'normalized_cross_entropy',
    'pair_wise_affinity',
    'partial_l2',
    'pixel_wise_divergence',
    'quality_focal_distance',
    'random_keep',
    'relational_difference',
    'selectivity_discrepancy',
    'self_distillation',
    'similarity_preservation',
    'softened_divergence',
    'standardized_distance',
    'teacher_bounded_regression',
    'teacher_free_cross_entropy',
    'weighted_class_kd',
    'zipf_divergence',
]
