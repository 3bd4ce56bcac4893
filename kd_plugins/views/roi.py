"""Second-stage heads: both models score the same RoIs, each on its own features."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DistillationError
from ..losses import LossContext
from ..recorders import shadow_method
from ..registry import VIEWS
from .base import Capture, Matched, Place, View
from .coders import same_coder, translate
from .run import ModelRun, frozen

ROI_SOURCES = ('student', 'teacher', 'union')


@dataclass
class RoIOutputs:
    """What one stage of a RoI head made of its RoIs; R rows.

    Attributes:
        rois: (R, 5), image number and corners in pixels of the model's input.
        logits: (R, K + 1), background last.
        deltas: (R, 4 K), or (R, 4) where the head is class-agnostic.
        features: (R, D), what the classifier reads.
        maps: feature maps the RoIs were pooled from.
        targets: labels (R,), label weights (R,), deltas (R, 4), delta weights (R, 4).
    """

    rois: Tensor = field(default_factory=lambda: torch.empty(0, 5))
    logits: Tensor | None = None
    deltas: Tensor | None = None
    features: Tensor | None = None
    maps: Sequence[Tensor] = ()
    targets: tuple[Tensor, ...] = ()


def roi_stages(model: Any, where: str) -> list[tuple[nn.Module, Any]]:
    """RoI extractor and box head of each stage.

    Raises: ConfigError for a model or a head whose outputs are not plain class logits
        and box deltas.
    """
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead

    name = type(model).__name__
    roi_head = getattr(model, 'roi_head', None)
    if roi_head is None:
        raise ConfigError(
            f"{where}: {name} has no RoI head. Use a two-stage detector, or a 'layer' "
            'pair.'
        )
    known = (StandardRoIHead._bbox_forward, CascadeRoIHead._bbox_forward)
    if getattr(type(roi_head), '_bbox_forward', None) not in known:
        raise ConfigError(
            f'{where}: {type(roi_head).__name__} of {name} runs its box head in a way '
            "of its own, which 'roi' views do not know. Use StandardRoIHead or "
            'CascadeRoIHead.'
        )
    heads = roi_head.bbox_head
    stages = (
        list(zip(roi_head.bbox_roi_extractor, heads, strict=True))
        if isinstance(heads, nn.ModuleList)
        else [(roi_head.bbox_roi_extractor, heads)]
    )
    for _, head in stages:
        if not (isinstance(getattr(head, 'fc_cls', None), nn.Linear)) or not hasattr(
            head, 'fc_reg'
        ):
            raise ConfigError(
                f"{where}: {type(head).__name__} of {name} has no 'fc_cls' and 'fc_reg' "
                "that 'roi' views could read. Use a BBoxHead such as Shared2FCBBoxHead."
            )
        if getattr(head, 'custom_cls_channels', False):
            raise ConfigError(
                f'{where}: {type(head.loss_cls).__name__} of {name} has class channels '
                'of its own (custom_cls_channels): its logits are no softmax over '
                "classes and background. Use loss_cls type='CrossEntropyLoss'."
            )
    return stages


@dataclass(frozen=True)
class RoICapture(Capture):
    """RoIs, outputs and targets of all stages, while the model computes its losses."""

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[dict[int, RoIOutputs]]:
        stages = roi_stages(model, 'pairs')
        captured: dict[int, RoIOutputs] = {}
        with ExitStack() as stack:
            for number, (extractor, head) in enumerate(stages):
                stack.enter_context(_capture_stage(extractor, head, number, captured))
            yield captured


@contextmanager
def _capture_stage(
    extractor: nn.Module, head: Any, number: int, captured: dict[int, RoIOutputs]
) -> Iterator[None]:
    def pooled(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        maps, rois = [*args, *kwargs.values()][:2]
        captured[number] = RoIOutputs(rois=rois, maps=maps)

    def classified(module: nn.Module, args: tuple[Any, ...]) -> None:
        captured[number].features = args[0]

    def answered(module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> None:
        captured[number].logits, captured[number].deltas = output

    def assigned(args: Any, result: dict[str, Any]) -> None:
        captured[number].targets = tuple(result['bbox_targets'])

    handles = [
        extractor.register_forward_pre_hook(pooled, with_kwargs=True),
        head.fc_cls.register_forward_pre_hook(classified),
        head.register_forward_hook(answered),
    ]
    try:
        with shadow_method(head, 'loss_and_target', assigned):
            yield
    finally:
        for handle in handles:
            handle.remove()


def score_rois(model: Any, stage: int, features: Any, rois: Tensor) -> RoIOutputs:
    """Run one stage of a RoI head on given RoIs, the way the host does it."""
    extractor, head = roi_stages(model, 'pairs')[stage]
    captured: dict[int, RoIOutputs] = {}
    with _capture_stage(extractor, head, stage, captured):
        if isinstance(model.roi_head.bbox_head, nn.ModuleList):
            model.roi_head._bbox_forward(stage, features, rois)
        else:
            model.roi_head._bbox_forward(features, rois)
    return captured[stage]


def teacher_scores(run: ModelRun, stage: int, rois: Tensor, key: Any) -> RoIOutputs:
    """The teacher's answers on RoIs given in pixels of the student's input."""
    scaled = rois.detach().clone()
    scaled[:, 1:] *= run.scale
    return run.once(
        ('roi', stage, key), lambda: score_rois(run.model, stage, run.features, scaled)
    )


@VIEWS.register_module()
class RoIView(View):
    """Class logits, box deltas or features of a RoI head, on the same RoIs.

    Args:
        value: 'logits' (R, K + 1); 'deltas' (R, 4), of each RoI's assigned class and in
            the student's box coding; or 'features' (R, D), what the classifier reads.
        stage: of a cascade: a number for both models, or ``dict(student=, teacher=)``.
            Default: every stage of the student, each with the teacher's stage of the
            same number (of stage 0 where the teacher is no cascade).
        roi_source: whose RoIs. 'student': those it sampled for its own loss.
            'teacher' or 'union' (of both): the teacher proposes too, and the student's
            head runs once more, its batch norm frozen; there are no targets then.
        num_rois: proposals kept of the teacher an image, for 'teacher' and 'union'.

    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, section 3.2 (the RCN terms).
    """

    prefix = 'roi'
    values = ('logits', 'deltas', 'features')

    def __init__(
        self,
        value: str,
        stage: int | dict[str, int] | None = None,
        roi_source: str = 'student',
        num_rois: int = 64,
    ) -> None:
        if roi_source not in ROI_SOURCES:
            raise ConfigError(
                f"roi_source must be 'student', 'teacher' or 'union', got '{roi_source}'."
            )
        if value == 'deltas' and roi_source != 'student':
            raise ConfigError(
                f"value='deltas' needs the labels assigned to the student's RoIs, and "
                f"roi_source='{roi_source}' has none. Use roi_source='student'."
            )
        self.value = value
        self.stage = stage
        self.roi_source = roi_source
        self.num_rois = num_rois
        self._stages: list[tuple[int, int]] = []

    def bind(self, probe: Any, where: str) -> list[Place]:
        student = roi_stages(probe.student, f'{where} (student)')
        teacher = roi_stages(probe.teacher, f'{where} (teacher)')
        self._stages = self._pair_stages(len(student), len(teacher), where)
        places = []
        for number, other in self._stages:
            head, teacher_head = student[number][1], teacher[other][1]
            if self.value != 'features' and head.num_classes != teacher_head.num_classes:
                raise ConfigError(
                    f'{where}: student has {head.num_classes} classes, teacher '
                    f"'{probe.teacher_name}' {teacher_head.num_classes}. Set "
                    'model.teacher to one of the same classes in the same order, or '
                    'distil features (a layer, or roi.features) only.'
                )
            places.append(self._place(number, head, teacher_head))
        return places

    def _pair_stages(
        self, student: int, teacher: int, where: str
    ) -> list[tuple[int, int]]:
        if self.stage is None:
            return [(n, n if n < teacher else teacher - 1) for n in range(student)]
        stage = self.stage
        if isinstance(stage, int):
            stage = {'student': stage if student > 1 else 0, 'teacher': stage}
            if teacher == 1:
                stage['teacher'] = 0
        pair = (stage.get('student', 0), stage.get('teacher', 0))
        if not (0 <= pair[0] < student and 0 <= pair[1] < teacher):
            raise ConfigError(
                f'{where}.stage: got student {pair[0]} and teacher {pair[1]}; the student '
                f'has {student} stages, the teacher {teacher}, counted from 0.'
            )
        return [pair]

    def _place(self, stage: int, head: Any, teacher_head: Any) -> Place:
        name = f'roi.{self.value}' + (f' stage {stage}' if len(self._stages) > 1 else '')
        if self.value == 'features':
            return Place(
                name, (-1, head.fc_cls.in_features), (-1, teacher_head.fc_cls.in_features)
            )
        columns = 4 if self.value == 'deltas' else head.num_classes + 1
        return Place(name, (-1, columns), (-1, columns))

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', 'rpn_head', 'roi_head')

    def student_captures(self) -> Sequence[Capture]:
        return (RoICapture(),)

    def match(self, step: Any) -> list[Matched | None]:
        captured: dict[int, RoIOutputs] = step.captured[RoICapture()]
        if not captured:
            raise DistillationError(
                "the student's RoI head did not run while it computed its losses, so "
                f"'roi.{self.value}' has nothing to match."
            )
        matched: list[Matched | None] = []
        for number, other in self._stages:
            # A cascade stops early when a stage leaves no proposal.
            if number not in captured:
                matched.append(None)
                continue
            outputs = captured[number]
            if self.roi_source != 'student':
                outputs = self._rescore(step, number, outputs)
            answer = teacher_scores(
                step.teacher, other, outputs.rois, (self.roi_source, number)
            )
            context = LossContext(stage=number)
            if self.value == 'logits':
                matched.append(_match_logits(outputs, answer, context))
            elif self.value == 'features':
                matched.append(_match_features(outputs, answer, context))
            else:
                heads = (
                    roi_stages(step.student, 'pairs')[number][1],
                    roi_stages(step.teacher.model, 'pairs')[other][1],
                )
                matched.append(_match_deltas(outputs, answer, context, *heads))
        return matched

    def _rescore(self, step: Any, stage: int, sampled: RoIOutputs) -> RoIOutputs:
        proposals = step.teacher.once(
            ('proposals', self.num_rois),
            lambda: _propose(step.teacher, step.data_samples, self.num_rois),
        )
        rois = (
            torch.cat([sampled.rois.detach(), proposals])
            if self.roi_source == 'union'
            else proposals
        )
        norms = [
            module
            for module in step.student.roi_head.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        modes = [norm.training for norm in norms]
        for norm in norms:  # a second pass must not move the running statistics
            norm.eval()
        try:
            return score_rois(step.student, stage, sampled.maps, rois)
        finally:
            for norm, mode in zip(norms, modes, strict=True):
                norm.train(mode)


def _match_logits(own: RoIOutputs, other: RoIOutputs, context: LossContext) -> Matched:
    assert own.logits is not None and other.logits is not None
    context = replace(
        context, activation='softmax', background=own.logits.shape[1] - 1
    )
    if not own.targets:
        count = float(own.logits.shape[0])
        return Matched(own.logits, other.logits, count=count, context=context)
    mask = (own.targets[1] > 0).float()
    return Matched(own.logits, other.logits, own.targets[0], mask, mask.sum(), context)


def _match_deltas(
    own: RoIOutputs,
    other: RoIOutputs,
    context: LossContext,
    head: Any,
    teacher_head: Any,
) -> Matched:
    assert own.deltas is not None and other.deltas is not None
    labels, _, target, _ = own.targets
    positive = (labels >= 0) & (labels < head.num_classes)
    labels = labels.clamp(0, head.num_classes - 1)
    student = _of_label(own.deltas, labels)
    teacher = _of_label(other.deltas, labels)
    boxes = own.rois[:, 1:].detach()
    if not same_coder(head.bbox_coder, teacher_head.bbox_coder):
        teacher = translate(teacher, boxes, teacher_head.bbox_coder, head.bbox_coder)
    if head.reg_decoded_bbox:  # the host's targets are boxes: code them
        target = head.bbox_coder.encode(boxes, target)
        target = torch.where(positive[:, None], target, torch.zeros_like(target))
    count = float(student.shape[0])
    return Matched(student, teacher, target, positive.float(), count, context)


def _match_features(
    own: RoIOutputs, other: RoIOutputs, context: LossContext
) -> Matched:
    assert own.features is not None and other.features is not None
    count = float(own.features.shape[0])
    return Matched(own.features, other.features, count=count, context=context)


def _of_label(deltas: Tensor, labels: Tensor) -> Tensor:
    """Deltas (R, 4) of each row's class; a class-agnostic head has just one."""
    if deltas.shape[1] == 4:
        return deltas
    rows = torch.arange(len(labels), device=labels.device)
    return deltas.view(len(labels), -1, 4)[rows, labels]


def _propose(run: ModelRun, data_samples: list[Any], number: int) -> Tensor:
    """The teacher's best proposals (R, 5) in pixels of the student's input."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import bbox2roi

    samples = []
    for sample in data_samples:
        meta = dict(sample.metainfo)
        meta['img_shape'] = tuple(side * run.scale for side in meta['img_shape'][:2])
        samples.append(DetDataSample(metainfo=meta))
    with frozen(run.model):
        results = run.model.rpn_head.predict(run.features, samples, rescale=False)
    rois: Tensor = bbox2roi([result.bboxes[:number] for result in results])
    rois[:, 1:] /= run.scale
    return rois
