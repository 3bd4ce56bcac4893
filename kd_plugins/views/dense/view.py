"""One-stage heads: both models at the same points or anchors, level by level."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...checks import check_choice
from ...errors import located
from ...host_types import Samples
from ...losses import LossContext
from ...registry import VIEWS
from ...teachers.class_map import ClassMap
from ..base import SIDES, MatchedTensors, Side, TensorSpec
from ..heads import head_outputs
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..view import BoundView, View
from .assignment import (
    BBOX_HEAD,
    TargetsRecorder,
    assigned_columns,
    assignment_of,
    targets_of,
)
from .deltas import deltas_spec, match_deltas
from .distributions import REGIONS, distributions_spec, match_distributions
from .heads import (
    DenseHeadRecorder,
    check_same_points,
    dense_head,
    dense_heads,
    student_outputs,
    teacher_outputs,
)
from .logits import (
    check_classes,
    check_sigmoid,
    class_logits,
    inside_image,
    match_logits,
)

_PARTS = ('neck', BBOX_HEAD)


@VIEWS.register_module(name='head.logits')
class DenseLogitsView(View):
    """Class logits (N A, K, H, W) a level, sigmoid, of A anchors at a point.

    Masked are points outside the image, on its padding, and those that the student's
    own loss leaves out: anchors of weight 0, which are neither object nor background.
    Targets are labels (N A, H, W), K for the background, as the student's own loss
    computed them. Of a head whose loss is not that of RetinaHead, ATSSHead, GFLHead,
    FCOSHead or RTMDetHead it is unknown how it uses them: its logits come without
    labels. With a teacher's ``class_map`` K counts the shared classes, and points that
    are assigned another one are masked.
    """

    def bind(self, probe: Probe) -> BoundView:
        heads = dense_heads(probe)
        for side in SIDES:
            with located(f'({side})'):
                check_sigmoid(heads[side], 'head.logits')
        check_same_points(heads['student'], heads['teacher'], probe)
        check_classes(heads['student'], heads['teacher'], probe.class_map)
        shapes = {}
        for side in SIDES:
            with probe.run(side, ()) as run:
                (output,) = head_outputs(run, BBOX_HEAD)
                logits = class_logits(heads[side], output)
                shapes[side] = [tuple(item.shape) for item in logits]
        classes = probe.class_map
        if classes is not None:
            number = len(classes.shared)
            shapes = {
                side: [(item[0], number, *item[2:]) for item in levels]
                for side, levels in shapes.items()
            }
        labelled = assigned_columns(heads['student']) is not None
        specs = tuple(
            TensorSpec(
                f'head.logits[{level}]',
                student,
                teacher,
                context=LossContext(activation='sigmoid', level=level),
                target=(student[0], *student[2:]) if labelled else None,
            )
            for level, (student, teacher) in enumerate(
                zip(shapes['student'], shapes['teacher'], strict=True)
            )
        )
        matching = _Logits(tuple(spec.context for spec in specs), labelled, classes)
        recorders = (DenseHeadRecorder(),)
        return BoundView(
            specs,
            matching.match,
            (*recorders, TargetsRecorder()) if labelled else recorders,
            teacher_parts=_PARTS,
            has_target=labelled,
            requires_same_classes=True,
            maps=matching.maps,
            match_alone=matching.match_alone,
        )


@dataclass(frozen=True)
class _Logits:
    contexts: tuple[LossContext, ...]
    labelled: bool
    classes: ClassMap | None

    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        logits = class_logits(teacher.model.bbox_head, teacher_outputs(teacher))
        cropped = [teacher.crop(item) for item in logits]
        return self._levels(student, samples, cropped)

    def match_alone(
        self, student: ModelRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        """Of the student alone: the other half are its logits, without their graph."""
        return self._levels(student, samples, None)

    def _levels(
        self, student: ModelRun, samples: Samples, teacher: Sequence[Tensor] | None
    ) -> list[MatchedTensors | None]:
        head = student.model.bbox_head
        logits = class_logits(head, student_outputs(student, 'head.logits'))
        if teacher is None:
            teacher = [item.detach() for item in logits]
        assignment = None
        if self.labelled:
            assignment = assignment_of(student, samples, 'head.logits')
        matched: list[MatchedTensors | None] = []
        for context, student_level, teacher_level in zip(
            self.contexts, logits, teacher, strict=True
        ):
            assert context.level is not None
            inside = inside_image(samples, student_level, head, context.level)
            matched.append(
                match_logits(
                    student_level,
                    teacher_level,
                    inside,
                    context,
                    assignment,
                    self.classes,
                )
            )
        return matched

    def maps(self, run: FrozenRun, side: Side) -> list[Tensor]:
        logits = class_logits(dense_head(run.model), teacher_outputs(run))
        if self.classes is not None:
            logits = [self.classes.of(side, item) for item in logits]
        return [run.crop(item) for item in logits]


@VIEWS.register_module(name='head.deltas')
class DenseDeltasView(View):
    """Boxes (M, 4) of the student's positives, of all levels and images.

    Of anchors deltas in the student's box coding; of the points of FCOS, GFL and RTMDet
    distances left, top, right, bottom in strides of the level, of GFL those that its
    distributions expect. Targets are what the student's own loss computed.
    """

    def bind(self, probe: Probe) -> BoundView:
        heads = dense_heads(probe)
        spec = deltas_spec(heads['student'], heads['teacher'])
        check_same_points(heads['student'], heads['teacher'], probe)
        return BoundView(
            (spec,),
            _match_deltas,
            (DenseHeadRecorder(), TargetsRecorder()),
            teacher_parts=_PARTS,
            has_target=True,
        )


def _match_deltas(
    student: ModelRun, teacher: FrozenRun, samples: Samples
) -> list[MatchedTensors | None]:
    output = student_outputs(student, 'head.deltas')
    return [
        match_deltas(
            student.model.bbox_head,
            teacher.model.bbox_head,
            output[1],
            [teacher.crop(item) for item in teacher_outputs(teacher)[1]],
            assignment_of(student, samples, 'head.deltas'),
        )
    ]


@VIEWS.register_module(name='head.distributions')
class DenseDistributionsView(View):
    """Logits of the bins of each edge (M, 4, n + 1), of GFL and LD heads.

    Rows of all levels and images; the mask holds what a row weighs, between 0 and 1,
    and the count is its sum.

    Args:
        region: the rows that are kept. 'main': the student's positives, each weighed by
            its highest class score, as the host weighs their own loss. 'vlr': the
            valuable localization region, by overlap; see
            :func:`~kd_plugins.views.dense.localization_region.valuable_region`.

    Source: of the regions, Zheng et al., Localization Distillation for Object
        Detection, CVPR 2022, https://arxiv.org/abs/2102.12252.
    """

    def __init__(self, region: str = 'main') -> None:
        self.region = check_choice('region', region, REGIONS)

    def bind(self, probe: Probe) -> BoundView:
        heads = dense_heads(probe)
        spec = distributions_spec(heads['student'], heads['teacher'])
        check_same_points(heads['student'], heads['teacher'], probe)
        return BoundView(
            (spec,),
            _Distributions(self.region).match,
            (DenseHeadRecorder(), TargetsRecorder()),
            teacher_parts=_PARTS,
        )


@dataclass(frozen=True)
class _Distributions:
    region: str

    def match(
        self, student: ModelRun, teacher: FrozenRun, samples: Samples
    ) -> list[MatchedTensors | None]:
        view = 'head.distributions'
        return [
            match_distributions(
                self.region,
                student.model.bbox_head,
                student_outputs(student, view),
                [teacher.crop(item) for item in teacher_outputs(teacher)[1]],
                targets_of(student, view),
                samples,
            )
        ]
