"""Segmentation heads: class logits or features of every pixel, at the head's stride."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError, DistillationError, located, nearest
from ...losses import LossContext
from ...registry import VIEWS
from ...teachers.class_map import ClassMap
from ..base import MatchedTensors, Place, Recorder, View
from ..heads import head_outputs
from ..probe import SIDE
from .decode import DECODE_HEAD, DecodeRecorder, decode_stages, resized
from .features import ClassifierRecorder
from .labels import LabelCheck, labels_at

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
        value: 'logits', (N, K, H, W), or 'features', (N, C, H, W): what the classifier
            reads, before dropout, for losses that need the labels of its pixels; C may
            differ, and so may the classes. Without need of labels a layer does as well.
        stage: of a cascade, from 0; default: the last.
        size: whose size the maps are compared at, 'student' or 'teacher'; the other's
            are interpolated, and the labels take the nearest pixel.

    With a teacher's ``class_map``, logits are those of the shared classes, and pixels
    of the others are masked.

    Source: Liu et al., Structured Knowledge Distillation for Semantic Segmentation,
        CVPR 2019, https://arxiv.org/abs/1903.04197.
    """

    prefix = 'seg'
    values = ('logits', 'features')

    def __init__(
        self, value: str, stage: int | None = None, size: str = 'student'
    ) -> None:
        if size not in SIZES:
            raise ConfigError(f"size: no '{size}'. {nearest(str(size), SIZES)}")
        self.value = value
        self.stage = stage
        self.size = size
        self._stages = {'student': stage, 'teacher': None}
        self._context = LossContext()
        self._looked = False
        self._classes: ClassMap | None = None

    def bind(self, probe: Any, where: str) -> list[Place]:
        # The student's stage, where the teacher is a cascade too.
        cascade = isinstance(getattr(probe.teacher, DECODE_HEAD, None), nn.ModuleList)
        self._stages['teacher'] = self.stage if cascade else None
        heads = {
            which: seg_head(getattr(probe, which), stage, f'{where} ({which})')
            for which, stage in self._stages.items()
        }
        activation = None
        if self.value == 'logits':
            self._classes = probe.class_map
            activation = _check_classes(heads, probe.class_map, where)
        shapes = {}
        for which, head in heads.items():
            with probe.run(self, which, where) as run:
                shapes[which] = tuple(self._map(run, head, which).shape)
        columns = {which: shape[1] for which, shape in shapes.items()}
        if self._classes is not None:
            columns = dict.fromkeys(columns, len(self._classes.shared))
        size = shapes[self.size][2:]
        self._context = LossContext(
            activation=activation,
            stride=round(SIDE / size[-1]),
        )
        return [
            Place(
                f'seg.{self.value}',
                (shapes['student'][0], columns['student'], *size),
                (shapes['teacher'][0], columns['teacher'], *size),
                context=self._context,
                target=(shapes['student'][0], *size),
            )
        ]

    def _map(self, run: Any, head: Any, which: str) -> Tensor:
        """What is compared, of a frozen model."""
        stage = self._stages[which]
        output = head_outputs(run, DECODE_HEAD)[-1 if stage is None else stage]
        if self.value == 'features':
            feature: Tensor = run.captured[ClassifierRecorder(stage)].last()
            return feature
        return main_logits(head, output)

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', DECODE_HEAD)

    @property
    def has_target(self) -> bool:
        return True

    @property
    def requires_same_classes(self) -> bool:
        """True of logits."""
        return self.value == 'logits'

    def student_recorders(self) -> Sequence[Recorder]:
        # On a GPU at the first step alone: a wrong dataset shows there.
        check = LabelCheck(self.stage, not self._looked)
        return (check, DecodeRecorder(self.stage), *self._feature('student'))

    def teacher_recorders(self) -> Sequence[Recorder]:
        return self._feature('teacher')

    def _feature(self, which: str) -> tuple[Recorder, ...]:
        if self.value == 'logits':
            return ()
        return (ClassifierRecorder(self._stages[which]),)

    def maps(self, run: Any, which: str) -> list[Tensor]:
        head = seg_head(run.model, self._stages[which], 'pairs')
        found = run.crop(self._map(run, head, which))
        return [self._classes.of(which, found) if self._classes else found]

    def match(self, step: Any) -> list[MatchedTensors | None]:
        self._looked = True
        head = seg_head(step.student, self.stage, 'pairs')
        output = step.captured[DecodeRecorder(self.stage)].output(f'seg.{self.value}')
        if self.value == 'features':
            student = step.captured[ClassifierRecorder(self.stage)].last()
        else:
            student = main_logits(head, output)
        run = step.teacher
        teacher_head = seg_head(run.model, self._stages['teacher'], 'pairs')
        teacher = run.crop(self._map(run, teacher_head, 'teacher'))
        if self._classes is not None:
            student = self._classes.of_student(student)
            teacher = self._classes.of_teacher(teacher)
        if self.size == 'student':
            teacher = resized(teacher, student.shape[2:], teacher_head)
        else:
            student = resized(student, teacher.shape[2:], head)
        samples, size = step.data_samples, student.shape[2:]
        target, mask = labels_at(size, samples, head.ignore_index)
        if self._classes is not None:
            target, known = self._classes.shared_labels(target)
            mask = mask * known
        return [
            MatchedTensors(student, teacher, target, mask, mask.sum(), self._context)
        ]


def _check_classes(
    heads: dict[str, Any], class_map: ClassMap | None, where: str
) -> Any:
    """How both heads turn the same classes into probabilities."""
    classes = {which: head.out_channels for which, head in heads.items()}
    if class_map is not None:
        if 1 in classes.values():
            raise ConfigError(
                f'{where}: of a decode_head with a single column (out_channels=1) '
                "the teacher's class_map can choose no classes. Remove it."
            )
        with located(where):
            class_map.check_numbers(**classes)
    elif classes['student'] != classes['teacher']:
        raise ConfigError(
            f'{where}: the student scores {classes["student"]} classes, the '
            f'teacher {classes["teacher"]}. Choose a teacher of the same classes, or '
            'name those of both in its class_map.'
        )
    kinds = {which: _activation(head) for which, head in heads.items()}
    if kinds['student'] != kinds['teacher']:
        raise ConfigError(
            f'{where}: the student trains its classes by a {kinds["student"]}, '
            f'the teacher by a {kinds["teacher"]}: their logits cannot be '
            'compared. Set the same use_sigmoid in both decode_head.loss_decode.'
        )
    if class_map and kinds['student'] == 'softmax' and len(class_map.shared) == 1:
        raise ConfigError(
            f"{where}: only '{class_map.shared[0]}' is shared, and a softmax over one "
            'class is always 1. Name more in class_map.rename of the teacher, or '
            'distil features.'
        )
    return kinds['student']


def _activation(head: Any) -> Any:
    losses = getattr(head, 'loss_decode', None)
    every = losses if isinstance(losses, nn.ModuleList) else [losses]
    # Beside a cross-entropy over classes others, such as Dice, may say otherwise.
    sigmoid = all(getattr(loss, 'use_sigmoid', False) for loss in every)
    return 'sigmoid' if head.out_channels == 1 or sigmoid else 'softmax'
