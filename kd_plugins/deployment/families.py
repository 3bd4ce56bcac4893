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
    single = '_predict_by_feat_single'
    if isinstance(head, GFLHead):
        decoding = (head, single, GFLHead._predict_by_feat_single)
    else:
        decoding = (head, single, BaseDenseHead._predict_by_feat_single)
    others = _others(
        (model, 'predict', SingleStageDetector.predict),
        (head, 'predict', BaseDenseHead.predict),
        (head, 'predict_by_feat', BaseDenseHead.predict_by_feat),
        (head, '_bbox_post_process', BaseDenseHead._bbox_post_process),
        decoding,
    )
    if others or getattr(head.loss_cls, 'custom_cls_channels', False):
        raise ConfigError(
            f'{type(model).__name__} with {type(head).__name__} decodes boxes in a way '
            'of its own: whole are exported those that decode as BaseDenseHead or '
            'GFLHead (RetinaNet, FCOS, ATSS, GFL, RTMDet). Export what the head says, '
            'and decode outside of the file: --dense.'
        )
    return OneStageGraph(model, dynamic)


def _others(*methods: tuple[Any, str, Any]) -> list[str]:
    """Classes of the parts whose method is not the host's standard one."""
    return [
        f'no {name}' if part is None else type(part).__name__
        for part, name, standard in methods
        if getattr(type(part), name, None) is not standard
    ]


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
    roi_head: Any = model.roi_head
    box_head: Any = getattr(roi_head, 'bbox_head', None)
    extractor: Any = getattr(roi_head, 'bbox_roi_extractor', None)
    single = '_predict_by_feat_single'
    own = _others(
        (model, 'predict', TwoStageDetector.predict),
        (getattr(model, 'rpn_head', None), single, RPNHead._predict_by_feat_single),
        (roi_head, 'predict_bbox', StandardRoIHead.predict_bbox),
        (roi_head, '_bbox_forward', StandardRoIHead._bbox_forward),
        (box_head, single, BBoxHead._predict_by_feat_single),
        (extractor, 'map_roi_levels', SingleRoIExtractor.map_roi_levels),
    )
    layers = getattr(extractor, 'roi_layers', ())
    if not all(
        isinstance(each, RoIAlign) and each.pool_mode == 'avg' for each in layers
    ):
        own.append(f'{type(extractor).__name__} (RoIAlign that averages is exported)')
    if getattr(box_head, 'custom_cls_channels', False):
        own.append(f'{type(box_head).__name__} (custom_cls_channels)')
    if getattr(roi_head, 'with_mask', False):
        own.append(f'{type(roi_head.mask_head).__name__} (masks)')
    if own:
        raise ConfigError(
            f'{name} predicts in a way of its own in {", ".join(own)}: of two stages '
            'exported are those that predict boxes as Faster R-CNN. Distil into such a '
            'student, or into one of one stage.'
        )
    return TwoStageGraph(model, dynamic)
