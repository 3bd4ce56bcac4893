"""Segmentation heads: class logits or features of every pixel, at the head's stride."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from ...checks import check_choice
from ...host_types import Samples
from ...losses import LossContext
from ...recorders import Recorder
from ...registry import VIEWS
from ...teachers.class_map import ClassMap
from ..base import SIDES, Activation, MatchedTensors, Side, TensorSpec
from ..heads import head_outputs
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, Classifier, View
from .decode import DECODE_HEAD, DecodeRecorder, resized
from .features import ClassifierRecorder, features_of
from .heads import activation_of, check_classes, main_logits, seg_head, seg_heads
from .labels import LabelCheck, labels_at


@dataclass(frozen=True)
class PixelMatching:
    """Maps of pixels of both models, at one size, with their labels.

    Attributes:
        stages: of the decode heads, by model.
        size: whose size the maps are compared at.
        context: what losses may know of them.
        classes: which are shared, where the two models know others.
    """

    stages: dict[Side, int | None]
    size: str
    context: LossContext
    classes: ClassMap | None = None

    name: ClassVar[str]
    requires_same_classes: ClassVar[bool] = False

    @abstractmethod
    def student_map(self, student: ModelRun, output: Any) -> Tensor:
        """Of the student, as it computed its losses."""

    @abstractmethod
    def frozen_map(self, run: FrozenRun, side: Side) -> Tensor:
        """Of either model, as it predicts."""

    def recorders(self, side: Side) -> tuple[Recorder[Any], ...]:
        """What to attach to a model, beyond what every view of pixels needs."""
        return ()

    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        stage = self.stages['student']
        head = seg_head(student.model, stage)
        output = student.records[DecodeRecorder(stage)].output(self.name)
        student_map = self.student_map(student, output)
        teacher_head = seg_head(teacher.model, self.stages['teacher'])
        teacher_map = teacher.crop(self.frozen_map(teacher, 'teacher'))
        if self.classes is not None:
            student_map = self.classes.of_student(student_map)
            teacher_map = self.classes.of_teacher(teacher_map)
        if self.size == 'student':
            teacher_map = resized(teacher_map, student_map.shape[2:], teacher_head)
        else:
            student_map = resized(student_map, teacher_map.shape[2:], head)
        target, mask = labels_at(student_map.shape[2:], samples, head.ignore_index)
        if self.classes is not None:
            target, shared = self.classes.shared_labels(target)
            mask = mask * shared
        return [
            MatchedTensors(
                student_map, teacher_map, target, mask, mask.sum(), self.context
            )
        ]

    def match_alone(
        self, student: ModelRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        """Of the student alone: the other half is its own map, without its graph."""
        stage = self.stages['student']
        output = student.records[DecodeRecorder(stage)].output(self.name)
        own = self.student_map(student, output)
        head = seg_head(student.model, stage)
        target, mask = labels_at(own.shape[2:], samples, head.ignore_index)
        return [
            MatchedTensors(own, own.detach(), target, mask, mask.sum(), self.context)
        ]

    def maps(self, run: FrozenRun, side: Side) -> list[Tensor]:
        """What is compared, of either model as it predicts."""
        output = run.crop(self.frozen_map(run, side))
        return [output if self.classes is None else self.classes.of(side, output)]

    def bound(self, probe: Probe) -> BoundView:
        """The view of two models, whose maps a dry run tells."""
        shapes = {}
        for side in SIDES:
            with probe.run(side, self.recorders(side)) as run:
                shapes[side] = tuple(self.frozen_map(run, side).shape)
        columns = {side: shape[1] for side, shape in shapes.items()}
        if self.classes is not None:
            columns = dict.fromkeys(columns, len(self.classes.shared))
        size = shapes['student' if self.size == 'student' else 'teacher'][2:]
        spec = TensorSpec(
            self.name,
            (shapes['student'][0], columns['student'], *size),
            (shapes['teacher'][0], columns['teacher'], *size),
            context=self.context,
            target=(shapes['student'][0], *size),
        )
        stage = self.stages['student']
        return BoundView(
            (spec,),
            self.match,
            (LabelCheck(stage), DecodeRecorder(stage), *self.recorders('student')),
            self.recorders('teacher'),
            ('neck', DECODE_HEAD),
            has_target=True,
            requires_same_classes=self.requires_same_classes,
            maps=self.maps,
        )


@dataclass(frozen=True)
class LogitsMatching(PixelMatching):
    """Class logits of pixels."""

    name = 'seg.logits'
    requires_same_classes = True

    def student_map(self, student: ModelRun, output: Any) -> Tensor:
        return main_logits(seg_head(student.model, self.stages['student']), output)

    def frozen_map(self, run: FrozenRun, side: Side) -> Tensor:
        stage = self.stages[side]
        output = head_outputs(run, DECODE_HEAD)[-1 if stage is None else stage]
        return main_logits(seg_head(run.model, stage), output)


@dataclass(frozen=True)
class FeaturesMatching(PixelMatching):
    """What the classifiers of pixels read."""

    name = 'seg.features'

    def student_map(self, student: ModelRun, output: Any) -> Tensor:
        return student.records[ClassifierRecorder(self.stages['student'])].last()

    def frozen_map(self, run: FrozenRun, side: Side) -> Tensor:
        recorder = ClassifierRecorder(self.stages[side])

        def compute() -> Tensor:
            head_outputs(run, DECODE_HEAD)
            return run.records[recorder].last()

        stage = 'last' if recorder.stage is None else recorder.stage
        return run.once(('classified', stage), compute)

    def recorders(self, side: Side) -> tuple[Recorder[Any], ...]:
        return (ClassifierRecorder(self.stages[side]),)


def bind_logits(
    probe: Probe, stage: int | None, size: str
) -> tuple[LogitsMatching, dict[Side, Activation]]:
    """How class logits of two decode heads are matched, and the activation of each.

    Raises: ConfigError for heads that cannot be compared.
    """
    heads, stages = seg_heads(probe, stage)
    activations = check_classes(heads, probe.class_map)
    same = activations['student'] == activations['teacher']
    context = LossContext(activation=activations['student'] if same else None)
    matching = LogitsMatching(stages, size, context, probe.class_map)
    return matching, activations


@VIEWS.register_module(name='seg.logits')
class SegLogitsView(View):
    """Class logits (N, K, H, W) of all pixels, before the resizing of the head's loss.

    The student's are those its task loss is computed of (after dropout), the teacher's
    those of ``eval()``. Pixels of the ignore label, padding included, are masked. With
    a teacher's ``class_map`` they are those of the shared classes, and pixels of the
    others are masked.

    Args:
        stage: of a cascade, from 0; default: the last.
        size: whose size the maps are compared at, 'student' or 'teacher'; the other's
            are interpolated, and the labels take the nearest pixel.

    Source: Liu et al., Structured Knowledge Distillation for Semantic Segmentation,
        CVPR 2019, https://arxiv.org/abs/1903.04197.
    """

    def __init__(self, stage: int | None = None, size: str = 'student') -> None:
        self.stage = stage
        self.size = check_choice('size', size, SIDES)

    def bind(self, probe: Probe) -> BoundView:
        matching, activations = bind_logits(probe, self.stage, self.size)
        bound = replace(matching.bound(probe), activations=activations)
        if self.size != 'student':
            return bound
        stage = matching.stages['student']
        features = features_of(probe, stage, bound.tensors[0].student)
        return replace(bound, match_alone=matching.match_alone, features=features)


@VIEWS.register_module(name='seg.features')
class SegFeaturesView(View):
    """What the classifier of pixels reads, (N, C, H, W), before dropout.

    For losses that need the labels of its pixels; C may differ, and so may the classes.
    Without need of labels a layer does as well. Arguments are those of
    :class:`SegLogitsView`.
    """

    def __init__(self, stage: int | None = None, size: str = 'student') -> None:
        self.stage = stage
        self.size = check_choice('size', size, SIDES)

    def bind(self, probe: Probe) -> BoundView:
        heads, stages = seg_heads(probe, self.stage)
        bound = FeaturesMatching(stages, self.size, LossContext()).bound(probe)
        teacher = heads['teacher']
        if probe.class_map is not None or (
            heads['student'].out_channels != teacher.out_channels
        ):
            return bound  # labels of the student's classes say nothing of the teacher's
        classifier = Classifier(
            partial(_classifier, stages['teacher']),
            activation_of(teacher),
            teacher.out_channels,
        )
        return replace(bound, classifier=classifier)


def _classifier(stage: int | None, run: FrozenRun) -> Callable[[Tensor], Tensor]:
    classify: Callable[[Tensor], Tensor] = seg_head(run.exact, stage).cls_seg
    return classify
