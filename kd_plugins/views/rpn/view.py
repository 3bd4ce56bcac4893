"""First-stage heads: both models at the anchors that the student's RPN sampled."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, DistillationError
from ...losses import LossContext
from ...recorders import record_method
from ...registry import VIEWS
from ..base import MatchedTensors, Place, Recorder, View
from ..coders import same_coder, translate
from ..dense.assignment import by_anchor, rows_at
from ..dense.priors import check_priors
from ..run import ModelRun

Maps = Sequence[Tensor]
RPN_KEY = 'rpn'


@dataclass
class RPNOutputs:
    """What an RPN head gave, and what was asked of it; a list entry is a level.

    Attributes:
        logits: (N, A C, H, W) a level.
        deltas: (N, 4 A, H, W) a level.
        anchors: (A H W, 4) an image and level.
        targets: labels, label weights, deltas and delta weights, each with
            (N, A H W, ...) a level.
    """

    logits: Maps = ()
    deltas: Maps = ()
    anchors: Sequence[Maps] = ()
    targets: tuple[Maps, ...] = ()

    @cached_property
    def sampled(self) -> Tensor:
        """Numbers (M,) of the sampled anchors, of all levels and images.

        Found once a step: to know how many there are, the device must be waited for.
        """
        weights = torch.cat([weight.flatten() for weight in self.targets[1]])
        return torch.nonzero(weights > 0).flatten()


def rpn_of(model: Any, where: str) -> Any:
    """The RPN head of a two-stage detector.

    Raises: ConfigError if there is none, or one of another kind.
    """
    from mmdet.models.dense_heads import RPNHead

    head = getattr(model, 'rpn_head', None)
    if type(head) is not RPNHead:
        found = 'no rpn_head' if head is None else f'a {type(head).__name__}'
        raise ConfigError(
            f'{where}: {type(model).__name__} has {found}; views of the RPN need an '
            "RPNHead. Use a two-stage detector, or a 'layer' pair."
        )
    return head


@dataclass(frozen=True)
class RPNRecorder(Recorder):
    """Outputs and targets of the RPN, while the model computes its losses."""

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[RPNOutputs]:
        head = rpn_of(model, 'pairs')
        captured = RPNOutputs()

        def answered(module: nn.Module, args: Any, output: tuple[Maps, Maps]) -> None:
            captured.logits, captured.deltas = output

        def assigned(args: tuple[Any, ...], result: tuple[Any, ...]) -> None:
            captured.anchors = args[0]
            captured.targets = tuple(result[:4])

        handle = head.register_forward_hook(answered)
        try:
            with record_method(head, 'get_targets', assigned):
                yield captured
        finally:
            handle.remove()


def uncropped_rpn(run: ModelRun) -> tuple[Maps, Maps]:
    """Logits and deltas of the teacher's RPN over its whole input, once a step."""
    outputs: tuple[Maps, Maps] = run.once(
        RPN_KEY, lambda: run.model.rpn_head(run.features)
    )
    return outputs


def teacher_rpn(run: ModelRun) -> tuple[Maps, Maps]:
    """Logits and deltas of the teacher's RPN over the student's input."""
    logits, deltas = uncropped_rpn(run)
    return [run.crop(item) for item in logits], [run.crop(item) for item in deltas]


@VIEWS.register_module()
class RPNView(View):
    """Objectness logits or box deltas, at the anchors the student's RPN sampled.

    Rows are anchors of all images and levels: positives and negatives, M in all.

    Args:
        value: 'logits' (M, 1), sigmoid, or (M, 2), softmax with background last; or
            'deltas' (M, 4) in the student's box coding, where positives are kept.

    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, section 3.2 (the RPN terms).
    """

    prefix = 'rpn'
    values = ('logits', 'deltas')

    def __init__(self, value: str) -> None:
        self.value = value

    def bind(self, probe: Any, where: str) -> list[Place]:
        student = rpn_of(probe.student, f'{where} (student)')
        teacher = rpn_of(probe.teacher, f'{where} (teacher)')
        if probe.scale != 1:
            raise ConfigError(
                f"{where}: teacher '{probe.teacher_name}' sees its input scaled by "
                f'{probe.scale}, so that its anchors are not those of the student. '
                'Remove input_scale, or distil roi.* and layers only.'
            )
        check_priors(student, teacher, 'rpn_head.anchor_generator', where)
        if student.cls_out_channels != teacher.cls_out_channels:
            raise ConfigError(
                f'{where}: the RPN of the student has {student.cls_out_channels} '
                f'columns of logits, that of the teacher {teacher.cls_out_channels}. '
                'Set the same use_sigmoid in both rpn_head.loss_cls.'
            )
        name = f'rpn.{self.value}'
        if self.value == 'deltas':
            return [Place(name, (-1, 4), (-1, 4), target=(-1, 4))]
        shape = (-1, student.cls_out_channels)
        return [Place(name, shape, shape, context=_context(student), target=(-1,))]

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', 'rpn_head')

    @property
    def has_target(self) -> bool:
        return True

    def student_recorders(self) -> Sequence[Recorder]:
        return (RPNRecorder(),)

    def maps(self, run: Any, which: str) -> list[Tensor]:
        """Of every level, though the pair compares the sampled anchors of all."""
        found, columns = teacher_rpn(run)[1], 4
        if self.value == 'logits':
            found, columns = teacher_rpn(run)[0], run.model.rpn_head.cls_out_channels
        return [item.reshape(-1, columns, *item.shape[2:]) for item in found]

    def match(self, step: Any) -> list[MatchedTensors | None]:
        own: RPNOutputs = step.captured[RPNRecorder()]
        if not own.targets:
            raise DistillationError(
                "the student's RPN did not compute targets while it computed its "
                f"losses, so 'rpn.{self.value}' has nothing to match."
            )
        logits, deltas = teacher_rpn(step.teacher)
        head, teacher_head = step.student.rpn_head, step.teacher.model.rpn_head
        labels, _, targets, _ = own.targets
        sampled = own.sampled
        positive = rows_at(labels, sampled) == 0  # 1 is background, even here
        count = float(positive.shape[0])
        if self.value == 'logits':
            columns = head.cls_out_channels
            sigmoid = columns == 1
            return [
                MatchedTensors(
                    rows_at(by_anchor(own.logits, columns), sampled),
                    rows_at(by_anchor(logits, columns), sampled),
                    positive.float() if sigmoid else (~positive).long(),
                    count=count,
                    context=_context(head),
                )
            ]
        target = rows_at(targets, sampled)
        student = rows_at(by_anchor(own.deltas, 4), sampled)
        teacher = rows_at(by_anchor(deltas, 4), sampled)
        recode = not same_coder(head.bbox_coder, teacher_head.bbox_coder)
        if recode or head.reg_decoded_bbox:
            anchors = rows_at(_stack_anchors(own.anchors), sampled)
            coder = head.bbox_coder
            if recode:
                teacher = translate(teacher, anchors, teacher_head.bbox_coder, coder)
            if head.reg_decoded_bbox:  # the host's targets are boxes
                target = coder.encode(anchors, target)
                target = torch.where(
                    positive[:, None], target, torch.zeros_like(target)
                )
        return [MatchedTensors(student, teacher, target, positive.float(), count)]


def _context(head: Any) -> LossContext:
    if head.cls_out_channels == 1:
        return LossContext(activation='sigmoid')
    return LossContext(activation='softmax', background=1)


def _stack_anchors(anchors: Sequence[Maps]) -> list[Tensor]:
    return [
        torch.stack([getattr(item, 'tensor', item) for item in level])
        for level in zip(*anchors, strict=True)
    ]
