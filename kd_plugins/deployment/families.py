"""Which models can be exported, and as what."""

from importlib.util import find_spec
from typing import Any

from ..errors import ConfigError
from ..host_types import HostModule


def graph_of(model: HostModule, *, dense: bool, dynamic: bool) -> Any:
    """What is exported of a model: a module from images to outputs.

    Args:
        model: of a host, in eval.
        dense: of a one-stage detector the maps of its head, not boxes.
        dynamic: whether images may have any size.

    Raises: ConfigError for a model that predicts in a way of its own.
    """
    name = type(model).__name__
    if find_spec('mmseg') is not None:
        from mmseg.models.segmentors import EncoderDecoder

        if isinstance(model, EncoderDecoder):
            if dense:
                raise ConfigError(
                    f'--dense is of one-stage detectors, got the segmentor {name}: '
                    'leave it out, logits are among the outputs.'
                )
            from .segmentor import SegmentorGraph

            return SegmentorGraph(model, dynamic)
    if find_spec('mmdet') is not None:
        from mmdet.models.detectors import SingleStageDetector, TwoStageDetector

        if isinstance(model, SingleStageDetector) and hasattr(model, 'bbox_head'):
            return _one_stage(model, dense, dynamic)
        if isinstance(model, TwoStageDetector):
            return _two_stage(model, dense, dynamic)
    raise ConfigError(
        f'{name} is of no family that is exported: expected a segmentor '
        '(EncoderDecoder), a one-stage detector, or Faster R-CNN. Write a module from '
        'images to tensors, and call torch.onnx.export on it.'
    )


def _one_stage(model: HostModule, dense: bool, dynamic: bool) -> Any:
    from mmdet.models.dense_heads import GFLHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmdet.models.detectors import SingleStageDetector

    from .dense import DenseGraph
    from .one_stage import OneStageGraph

    if dense:
        return DenseGraph(model, dynamic)
    head = model.bbox_head
    kind = type(head)
    standard = {
        SingleStageDetector.predict: getattr(type(model), 'predict', None),
        BaseDenseHead.predict: getattr(kind, 'predict', None),
        BaseDenseHead.predict_by_feat: getattr(kind, 'predict_by_feat', None),
        BaseDenseHead._bbox_post_process: getattr(kind, '_bbox_post_process', None),
    }
    single = getattr(kind, '_predict_by_feat_single', None)
    known = all(host is own for host, own in standard.items()) and single in (
        BaseDenseHead._predict_by_feat_single,
        GFLHead._predict_by_feat_single,
    )
    if not known or getattr(head.loss_cls, 'custom_cls_channels', False):
        raise ConfigError(
            f'{type(model).__name__} with {kind.__name__} decodes boxes in a way of '
            'its own: whole are exported those that decode as BaseDenseHead or GFLHead '
            '(RetinaNet, FCOS, ATSS, GFL, RTMDet). Export what the head says, and '
            'decode outside of the file: --dense.'
        )
    return OneStageGraph(model, dynamic)


def _two_stage(model: HostModule, dense: bool, dynamic: bool) -> Any:
    from mmcv.ops import RoIAlign
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.detectors import TwoStageDetector
    from mmdet.models.roi_heads import StandardRoIHead
    from mmdet.models.roi_heads.bbox_heads import BBoxHead
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    from .two_stage import TwoStageGraph

    name = type(model).__name__
    if dense:
        raise ConfigError(
            f'--dense is of one-stage detectors, got {name}. Leave it out.'
        )
    roi_head, rpn = model.roi_head, type(model.rpn_head)
    box_head: Any = getattr(roi_head, 'bbox_head', None)
    extractor: Any = getattr(roi_head, 'bbox_roi_extractor', None)
    own = [
        part
        for part, standard in {
            name: getattr(type(model), 'predict', None) is TwoStageDetector.predict,
            rpn.__name__: getattr(rpn, '_predict_by_feat_single', None)
            is RPNHead._predict_by_feat_single,
            type(roi_head).__name__: getattr(type(roi_head), 'predict_bbox', None)
            is StandardRoIHead.predict_bbox,
            type(box_head).__name__: getattr(
                type(box_head), '_predict_by_feat_single', None
            )
            is BBoxHead._predict_by_feat_single
            and not box_head.custom_cls_channels,
            type(extractor).__name__: type(extractor) is SingleRoIExtractor
            and all(
                isinstance(layer, RoIAlign) and layer.pool_mode == 'avg'
                for layer in extractor.roi_layers
            ),
        }.items()
        if not standard
    ]
    if getattr(roi_head, 'with_mask', False):
        own.append(f'{type(roi_head.mask_head).__name__} (masks)')
    if own:
        raise ConfigError(
            f'{name} predicts in a way of its own in {", ".join(own)}: of two stages '
            'exported are those that predict boxes as Faster R-CNN. Distil into such a '
            'student, or into one of one stage.'
        )
    return TwoStageGraph(model, dynamic)
