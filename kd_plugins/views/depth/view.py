"""Depth heads: the predicted distance of every pixel."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ConfigError
from ...losses import LossContext
from ...registry import VIEWS
from ..base import MatchedTensors, Place, Recorder, View
from ..heads import head_outputs
from ..probe import SIDE
from ..seg.decode import DECODE_HEAD, DecodeRecorder, decode_stages, resized


def depth_head(model: Any, where: str) -> Any:
    """The decode head of a depth estimator.

    Raises: ConfigError if there is none, or one of another kind.
    """
    from mmseg.models.decode_heads.vpd_depth_head import VPDDepthHead

    head = decode_stages(model, None, where, 'depth.map')
    if not isinstance(head, VPDDepthHead):
        raise ConfigError(
            f'{where}: depth.map needs a VPDDepthHead, the decode head is a '
            f'{type(head).__name__}. Use seg.logits for classes.'
        )
    return head


@VIEWS.register_module()
class DepthView(View):
    """Depth maps, at the size that the head gives them.

    Both are divided by the student's ``max_depth``, so that a loss weight means the
    same for rooms and streets. Pixels without a measured depth are masked.

    Args:
        value: 'map', (N, 1, H, W), the student's between 0 and 1.

    Source: Liu et al., Structured Knowledge Distillation for Dense Prediction, TPAMI,
        https://arxiv.org/abs/1903.04197.
    """

    prefix = 'depth'
    values = ('map',)

    def __init__(self, value: str) -> None:
        self.value = value
        self._context = LossContext()

    def bind(self, probe: Any, where: str) -> list[Place]:
        shapes = {}
        for which in ('student', 'teacher'):
            depth_head(getattr(probe, which), f'{where} ({which})')
            with probe.run(self, which, where) as run:
                shapes[which] = tuple(head_outputs(run, DECODE_HEAD)[-1].shape)
        shape = shapes['student']
        self._context = LossContext(stride=round(SIDE / shape[-1]))
        return [Place('depth.map', shape, shape, context=self._context, target=shape)]

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', DECODE_HEAD)

    @property
    def has_target(self) -> bool:
        return True

    def student_recorders(self) -> Sequence[Recorder]:
        return (DecodeRecorder(),)

    def maps(self, run: Any, which: str) -> list[Tensor]:
        return [run.crop(head_outputs(run, DECODE_HEAD)[-1])]

    def match(self, step: Any) -> list[MatchedTensors | None]:
        head = depth_head(step.student, 'pairs')
        run = step.teacher
        student = step.captured[DecodeRecorder()].output('depth.map')
        teacher = run.crop(head_outputs(run, DECODE_HEAD)[-1])
        teacher = resized(teacher, student.shape[2:], depth_head(run.model, 'pairs'))
        target = _measured(step.data_samples, student.shape[2:])
        mask = (target[:, 0] > 0).float()
        scale = 1 / head.max_depth
        return [
            MatchedTensors(
                student * scale,
                teacher * scale,
                target * scale,
                mask,
                mask.sum(),
                self._context,
            )
        ]


def _measured(data_samples: Sequence[Any], size: torch.Size) -> Tensor:
    """Depth (N, 1, H, W) of the nearest pixel; 0 where none was measured."""
    maps = []
    for sample in data_samples:
        height, width = sample.metainfo['img_shape'][:2]
        measured = torch.zeros_like(sample.gt_depth_map.data)
        measured[:, :height, :width] = sample.gt_depth_map.data[:, :height, :width]
        maps.append(measured)  # without what the padding is filled with
    depth = torch.stack(maps)
    if depth.shape[2:] == size:
        return depth.float()
    return F.interpolate(depth.float(), size, mode='nearest-exact')
