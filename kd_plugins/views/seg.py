"""Segmentation heads: the class logits of every pixel, at the head's own stride."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError, DistillationError, nearest
from ..losses import LossContext
from ..registry import VIEWS
from .base import Capture, Matched, Place, View
from .decode import DECODE_HEAD, DecodeCapture, decode_stages, resized
from .heads import head_outputs
from .probe import SIDE
from .seg_labels import LabelCheck, labels_at

SIZES = ('student', 'teacher')
# Where a head gives several maps in training: which is the one it predicts by.
_MAIN = {
    'DAHead': 0,
    'EncHead': 0,
    'DDRHead': 0,
    'PIDHead': 1,
    'IterativeDecodeHead': -1,
}
_DEPTH = 'VPDDepthHead'


def seg_head(model: Any, stage: int | None, where: str) -> Any:
    """The decode head that gives class logits of pixels.

    Args:
        model: a segmentor.
        stage: of a cascade, from 0; None: the last.
        where: configuration key, for messages.

    Raises: ConfigError if there is none, or one of another kind.
    """
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    head = decode_stages(model, stage, where, 'seg.logits')
    name = type(head).__name__
    reason = None
    if name == 'PointHead':
        reason = 'scores points that it samples itself. Set stage=0, the coarse map'
    elif name == _DEPTH:
        reason = 'predicts a depth. Use depth.map'
    elif not isinstance(head, BaseDecodeHead) or name == 'SideAdapterCLIPHead':
        reason = "scores masks, not pixels. Use a 'layer' pair"
    if reason is not None:
        raise ConfigError(f'{where}: the decode head {name} {reason}.')
    return head


def main_logits(head: Any, output: Any) -> Tensor:
    """Of what a head gives, the map that it predicts by.

    Raises: DistillationError for a head that is not known to give several.
    """
    if isinstance(output, Tensor):
        return output
    names = [kind.__name__ for kind in type(head).__mro__]
    name = next((name for name in names if name in _MAIN), '')
    if not name:
        raise DistillationError(
            f'decode_head {type(head).__name__} gives a {type(output).__name__} in '
            'training, and seg.logits does not know which map it predicts by. Use a '
            "'layer' pair."
        )
    logits: Tensor = output[_MAIN[name]]
    return logits


@VIEWS.register_module()
class SegView(View):
    """Class logits of all pixels, before the resizing that the head's loss does.

    The student's are those its task loss is computed of (after dropout), the teacher's
    those of ``eval()``. Pixels of the ignore label, padding included, are masked.

    Args:
        value: 'logits', (N, K, H, W).
        stage: of a cascade, from 0; default: the last.
        size: whose size the maps are compared at, 'student' or 'teacher'; the other's
            are interpolated, and the labels take the nearest pixel.

    Source: Liu et al., Structured Knowledge Distillation for Semantic Segmentation,
        CVPR 2019, https://arxiv.org/abs/1903.04197.
    """

    prefix = 'seg'
    values = ('logits',)

    def __init__(
        self, value: str, stage: int | None = None, size: str = 'student'
    ) -> None:
        if size not in SIZES:
            raise ConfigError(f"size: no '{size}'. {nearest(str(size), SIZES)}")
        self.value = value
        self.stage = stage
        self.size = size
        self._context = LossContext()
        self._looked = False

    def bind(self, probe: Any, where: str) -> list[Place]:
        heads = {
            'student': seg_head(probe.student, self.stage, f'{where} (student)'),
            'teacher': seg_head(
                probe.teacher, self._teacher_stage(probe.teacher), f'{where} (teacher)'
            ),
        }
        classes = {which: head.out_channels for which, head in heads.items()}
        if classes['student'] != classes['teacher']:
            raise ConfigError(
                f'{where}: the student scores {classes["student"]} classes, the '
                f'teacher {classes["teacher"]}. Choose a teacher of the same classes.'
            )
        kinds = {which: _activation(head) for which, head in heads.items()}
        if kinds['student'] != kinds['teacher']:
            raise ConfigError(
                f'{where}: the student trains its classes by a {kinds["student"]}, '
                f'the teacher by a {kinds["teacher"]}: their logits cannot be '
                'compared. Set the same use_sigmoid in both decode_head.loss_decode.'
            )
        shapes = {}
        for which, head in heads.items():
            with probe.run(self, which, where) as run:
                stage = self.stage
                if which == 'teacher':
                    stage = self._teacher_stage(probe.teacher)
                output = head_outputs(run, DECODE_HEAD)[-1 if stage is None else stage]
                shapes[which] = tuple(main_logits(head, output).shape)
        shape = shapes[self.size]
        self._context = LossContext(
            activation=kinds['student'], stride=round(SIDE / shape[-1])
        )
        return [
            Place(
                'seg.logits',
                shape,
                shape,
                context=self._context,
                target=(shape[0], *shape[2:]),
            )
        ]

    def _teacher_stage(self, teacher: Any) -> int | None:
        """The student's, where the teacher is a cascade too."""
        cascade = isinstance(getattr(teacher, DECODE_HEAD, None), nn.ModuleList)
        return self.stage if cascade else None

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', DECODE_HEAD)

    @property
    def gives_target(self) -> bool:
        return True

    @property
    def same_classes(self) -> bool:
        return True

    def student_captures(self) -> Sequence[Capture]:
        # On a GPU at the first step alone: a wrong dataset shows there.
        return LabelCheck(self.stage, not self._looked), DecodeCapture(self.stage)

    def match(self, step: Any) -> list[Matched | None]:
        self._looked = True
        head = seg_head(step.student, self.stage, 'pairs')
        output = step.captured[DecodeCapture(self.stage)].output('seg.logits')
        student = main_logits(head, output)
        run = step.teacher
        stage = self._teacher_stage(run.model)
        output = head_outputs(run, DECODE_HEAD)[-1 if stage is None else stage]
        teacher_head = seg_head(run.model, stage, 'pairs')
        teacher = run.crop(main_logits(teacher_head, output))
        if self.size == 'student':
            teacher = resized(teacher, student.shape[2:], teacher_head)
        else:
            student = resized(student, teacher.shape[2:], head)
        samples, size = step.data_samples, student.shape[2:]
        target, mask = labels_at(size, samples, head.ignore_index)
        return [Matched(student, teacher, target, mask, mask.sum(), self._context)]


def _activation(head: Any) -> Any:
    losses = getattr(head, 'loss_decode', None)
    every = losses if isinstance(losses, nn.ModuleList) else [losses]
    # Beside a cross-entropy over classes others, such as Dice, may say otherwise.
    sigmoid = all(getattr(loss, 'use_sigmoid', False) for loss in every)
    return 'sigmoid' if head.out_channels == 1 or sigmoid else 'softmax'
