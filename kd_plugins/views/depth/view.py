"""Depth heads: the predicted distance of every pixel."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import located
from ...host_types import HostModule, Samples
from ...losses import LossContext
from ...registry import VIEWS
from ..base import SIDES, MatchedTensors, Side, TensorSpec, UnservedError
from ..heads import head_outputs
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..seg.decode import DECODE_HEAD, DecodeRecorder, decode_stage, resized
from ..view import BoundView, View


def depth_head(model: nn.Module) -> HostModule:
    """The decode head of a depth estimator.

    Raises: UnservedError if there is none, or one of another kind.
    """
    from mmseg.models.decode_heads.vpd_depth_head import VPDDepthHead

    head = decode_stage(model, None, 'depth.map')
    if not isinstance(head, VPDDepthHead):
        raise UnservedError(
            f'depth.map needs a VPDDepthHead, the decode head is a '
            f'{type(head).__name__}.'
        )
    return cast(HostModule, head)


@VIEWS.register_module(name='depth.map')
class DepthMapView(View):
    """Depth maps (N, 1, H, W), at the size that the head gives them.

    Both are divided by the student's ``max_depth``, so that a loss weight means the
    same for rooms and streets, and the student's lie between 0 and 1. Pixels without a
    measured depth are masked.

    Source: Liu et al., Structured Knowledge Distillation for Dense Prediction, TPAMI,
        https://arxiv.org/abs/1903.04197.
    """

    def bind(self, probe: Probe) -> BoundView:
        for side in SIDES:
            with located(f'({side})'):
                depth_head(probe.model(side))
        shapes = {}
        for side in SIDES:
            with probe.run(side, ()) as run:
                shapes[side] = tuple(head_outputs(run, DECODE_HEAD)[-1].shape)
        shape = shapes['student']
        return BoundView(
            (TensorSpec('depth.map', shape, shape, target=shape),),
            _match,
            (DecodeRecorder(),),
            teacher_parts=('neck', DECODE_HEAD),
            has_target=True,
            maps=_maps,
        )


def _maps(run: FrozenRun, side: Side) -> list[Tensor]:
    return [run.crop(head_outputs(run, DECODE_HEAD)[-1])]


def _match(
    student: ModelRun, teacher: FrozenRun, samples: Samples
) -> list[MatchedTensors | None]:
    head = depth_head(student.model)
    student_map = student.records[DecodeRecorder()].output('depth.map')
    (teacher_map,) = _maps(teacher, 'teacher')
    size = student_map.shape[2:]
    teacher_map = resized(teacher_map, size, depth_head(teacher.model))
    target = _measured(samples, size)
    mask = (target[:, 0] > 0).float()
    scale = 1 / head.max_depth
    return [
        MatchedTensors(
            student_map * scale,
            teacher_map * scale,
            target * scale,
            mask,
            mask.sum(),
            LossContext(),
        )
    ]


def _measured(samples: Samples, size: torch.Size) -> Tensor:
    """Depth (N, 1, H, W) of the nearest pixel; 0 where none was measured."""
    maps = []
    for sample in samples:
        height, width = sample.metainfo['img_shape'][:2]
        measured = torch.zeros_like(sample.gt_depth_map.data)
        measured[:, :height, :width] = sample.gt_depth_map.data[:, :height, :width]
        maps.append(measured)  # without what the padding is filled with
    depth = torch.stack(maps)
    if depth.shape[2:] == size:
        return depth.float()
    return F.interpolate(depth.float(), size, mode='nearest-exact')
