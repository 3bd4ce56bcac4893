"""First-stage heads: both models at the anchors that the student's RPN sampled."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import ConfigError, DistillationError, located
from ...host_types import HostModule, Samples
from ...losses import LossContext
from ...registry import VIEWS
from ..anchors import Maps, by_anchor, check_priors, rows_at
from ..base import MatchedTensors, Side, TensorSpec, check_same_images
from ..coders import same_coder, translate
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, Match, View
from ..view import Maps as ViewMaps
from .outputs import RPN_HEAD, RPNOutputs, RPNRecorder, frozen_rpn, rpn_of


@VIEWS.register_module(name='rpn.logits')
class RPNLogitsView(View):
    """Objectness logits at the anchors the student's RPN sampled.

    Rows are anchors of all images and levels, positives and negatives, M in all: (M,
    1), sigmoid, or (M, 2), softmax with background last.

    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, section 3.2 (the RPN terms).
    """

    def bind(self, probe: Probe) -> BoundView:
        student, _ = check_rpns(probe)
        shape = (-1, student.cls_out_channels)
        spec = TensorSpec(
            'rpn.logits', shape, shape, context=_context(student), target=(-1,)
        )
        return _bound(spec, match_logits, logit_maps)


@VIEWS.register_module(name='rpn.deltas')
class RPNDeltasView(View):
    """Box deltas (M, 4) at the anchors the student's RPN sampled.

    In the student's box coding; rows are anchors of all images and levels, of which the
    mask keeps the positives.

    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, section 3.2 (the RPN terms).
    """

    def bind(self, probe: Probe) -> BoundView:
        check_rpns(probe)
        spec = TensorSpec('rpn.deltas', (-1, 4), (-1, 4), target=(-1, 4))
        return _bound(spec, match_deltas, delta_maps)


def check_rpns(probe: Probe) -> tuple[HostModule, HostModule]:
    """The RPN heads of both models, if they judge the same anchors.

    Raises: ConfigError naming what to change.
    """
    with located('(student)'):
        student = rpn_of(probe.student)
    with located('(teacher)'):
        teacher = rpn_of(probe.teacher)
    if probe.scale != 1:
        raise ConfigError(
            f"teacher '{probe.teacher_name}' sees its input scaled by {probe.scale}, "
            'so that its anchors are not those of the student. Remove input_scale, or '
            'distil roi.* and layers only.'
        )
    check_priors(student, teacher, 'rpn_head.anchor_generator')
    probe.check_images('the RPN')
    if student.cls_out_channels != teacher.cls_out_channels:
        raise ConfigError(
            f'the RPN of the student has {student.cls_out_channels} columns of logits, '
            f'that of the teacher {teacher.cls_out_channels}. Set the same use_sigmoid '
            'in both rpn_head.loss_cls.'
        )
    return student, teacher


def match_logits(
    student: ModelRun, teacher: FrozenRun, samples: Samples
) -> list[MatchedTensors | None]:
    """Objectness of the sampled anchors; targets 1 and 0, or 0 and 1 of a softmax."""
    outputs = _outputs(student, teacher, 'rpn.logits')
    logits, _ = frozen_rpn(teacher)
    head = student.model.rpn_head
    columns = head.cls_out_channels
    sampled = outputs.sampled
    positive = _positive(outputs)
    return [
        MatchedTensors(
            rows_at(by_anchor(outputs.logits, columns), sampled),
            rows_at(by_anchor(logits, columns), sampled),
            positive.float() if columns == 1 else (~positive).long(),
            count=float(positive.shape[0]),
            context=_context(head),
        )
    ]


def match_deltas(
    student: ModelRun, teacher: FrozenRun, samples: Samples
) -> list[MatchedTensors | None]:
    """Deltas of the sampled anchors, all in the coding of the student's head."""
    outputs = _outputs(student, teacher, 'rpn.deltas')
    _, deltas = frozen_rpn(teacher)
    student_head, teacher_head = student.model.rpn_head, teacher.model.rpn_head
    coder = student_head.bbox_coder
    sampled = outputs.sampled
    positive = _positive(outputs)
    target = rows_at(outputs.targets[2], sampled)
    student_deltas = rows_at(by_anchor(outputs.deltas, 4), sampled)
    teacher_deltas = rows_at(by_anchor(deltas, 4), sampled)
    recode = not same_coder(coder, teacher_head.bbox_coder)
    if recode or student_head.reg_decoded_bbox:
        anchors = rows_at(_stack_anchors(outputs.anchors), sampled)
        if recode:
            teacher_deltas = translate(
                teacher_deltas, anchors, teacher_head.bbox_coder, coder
            )
        if student_head.reg_decoded_bbox:  # the host's targets are boxes
            target = coder.encode(anchors, target)
            target = torch.where(positive[:, None], target, torch.zeros_like(target))
    count = float(positive.shape[0])
    return [
        MatchedTensors(student_deltas, teacher_deltas, target, positive.float(), count)
    ]


def logit_maps(run: FrozenRun, side: Side) -> list[Tensor]:
    """Of every level, though the pair compares the sampled anchors of all."""
    logits, _ = frozen_rpn(run)
    return _as_maps(logits, run.model.rpn_head.cls_out_channels)


def delta_maps(run: FrozenRun, side: Side) -> list[Tensor]:
    """Likewise."""
    _, deltas = frozen_rpn(run)
    return _as_maps(deltas, 4)


def _bound(spec: TensorSpec, match: Match, maps: ViewMaps) -> BoundView:
    return BoundView(
        (spec,),
        match,
        (RPNRecorder(),),
        teacher_parts=('neck', RPN_HEAD),
        has_target=True,
        maps=maps,
    )


def _outputs(student: ModelRun, teacher: FrozenRun, view: str) -> RPNOutputs:
    outputs = student.records[RPNRecorder()]
    if not outputs.targets:
        raise DistillationError(
            "the student's RPN did not compute targets while it computed its losses, "
            f"so '{view}' has nothing to match."
        )
    check_same_images(len(outputs.logits[0]), teacher.batch_size, 'the RPN')
    return outputs


def _positive(outputs: RPNOutputs) -> Tensor:
    return (
        rows_at(outputs.targets[0], outputs.sampled) == 0
    )  # 1 is background, here too


def _as_maps(levels: Maps, columns: int) -> list[Tensor]:
    return [item.reshape(-1, columns, *item.shape[2:]) for item in levels]


def _context(head: HostModule) -> LossContext:
    if head.cls_out_channels == 1:
        return LossContext(activation='sigmoid')
    return LossContext(activation='softmax', background=1)


def _stack_anchors(anchors: Sequence[Maps]) -> list[Tensor]:
    return [
        torch.stack([getattr(item, 'tensor', item) for item in level])
        for level in zip(*anchors, strict=True)
    ]
