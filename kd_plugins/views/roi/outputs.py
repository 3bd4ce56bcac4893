"""RoI heads: what they gave for their RoIs, and what they give for others'."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...host_types import HostModule, Samples
from ...recorders import Recorder, record_method
from ..base import UnservedError
from ..rpn.outputs import uncropped_rpn
from ..run import FrozenRun, frozen

ROI_HEAD = 'roi_head'


@dataclass
class RoIOutputs:
    """What one stage of a RoI head made of its RoIs; R rows.

    Attributes:
        rois: (R, 5), image number and corners in pixels of the model's input.
        logits: (R, K + 1), background last.
        deltas: (R, 4 K), or (R, 4) where the head is class-agnostic.
        features: (R, D), what the classifier reads.
        pooled: (R, C, h, w), what the box head reads.
        maps: feature maps the RoIs were pooled from.
        targets: labels (R,), label weights (R,), deltas (R, 4), delta weights (R, 4).
    """

    rois: Tensor = field(default_factory=lambda: torch.empty(0, 5))
    logits: Tensor | None = None
    deltas: Tensor | None = None
    features: Tensor | None = None
    pooled: Tensor | None = None
    maps: Sequence[Tensor] = ()
    targets: tuple[Tensor, ...] = ()


def roi_stages(model: nn.Module) -> list[tuple[nn.Module, HostModule]]:
    """RoI extractor and box head of each stage.

    Raises: UnservedError for a model or a head whose outputs are not class logits and
        box deltas of each RoI.
    """
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead

    name = type(model).__name__
    roi_head = getattr(model, ROI_HEAD, None)
    if roi_head is None:
        raise UnservedError(f'{name} has no RoI head, as two-stage detectors have.')
    forwards = (StandardRoIHead._bbox_forward, CascadeRoIHead._bbox_forward)
    if getattr(type(roi_head), '_bbox_forward', None) not in forwards:
        raise UnservedError(
            f'{type(roi_head).__name__} of {name} runs its box head in a way of its '
            "own: 'roi' views know that of StandardRoIHead and CascadeRoIHead."
        )
    heads = roi_head.bbox_head
    stages: list[tuple[nn.Module, HostModule]] = (
        list(zip(roi_head.bbox_roi_extractor, cast(Any, heads), strict=True))
        if isinstance(heads, nn.ModuleList)
        else [(roi_head.bbox_roi_extractor, heads)]
    )
    for _, head in stages:
        missing = []
        if not isinstance(getattr(head, 'fc_cls', None), nn.Linear):
            missing.append('fc_cls')
        # Of Grid R-CNN, whose boxes another head draws, there need be none.
        if getattr(head, 'with_reg', True) and not hasattr(head, 'fc_reg'):
            missing.append('fc_reg')
        if missing:
            raise UnservedError(
                f'{type(head).__name__} of {name} has no linear '
                f'{" and ".join(missing)}, as BBoxHead and its kind have, which '
                "'roi' views read."
            )
    return stages


def stage_of(model: HostModule, path: str) -> int:
    """Stage of a cascade that a layer of its RoI head belongs to; else 0."""
    parts = path.split('.')
    if (
        isinstance(model.roi_head.bbox_head, nn.ModuleList)
        and len(parts) > 2
        and parts[2].isdigit()
    ):
        return int(parts[2])
    return 0


@dataclass(frozen=True)
class RoIRecorder(Recorder[dict[int, RoIOutputs]]):
    """RoIs, outputs and targets of all stages, while the model computes its losses."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[dict[int, RoIOutputs]]:
        """Record within the block; yields the outputs, by stage."""
        outputs: dict[int, RoIOutputs] = {}
        with ExitStack() as stack:
            for number, (extractor, head) in enumerate(roi_stages(model)):
                stack.enter_context(_record_stage(extractor, head, number, outputs))
            yield outputs


@contextmanager
def _record_stage(
    extractor: nn.Module,
    head: HostModule,
    number: int,
    outputs: dict[int, RoIOutputs],
) -> Iterator[None]:
    # An extractor may also pool for a mask head: only what the box head answers counts.
    pooled_last = RoIOutputs()

    def pooled(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        pooled_last.maps, pooled_last.rois = [*args, *kwargs.values()][:2]

    def classified(module: nn.Module, args: tuple[Any, ...]) -> None:
        pooled_last.features = args[0]

    def answered(module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> None:
        logits, deltas = output
        outputs[number] = replace(
            pooled_last, logits=logits, deltas=deltas, pooled=args[0]
        )

    def assigned(args: Any, result: dict[str, Any]) -> None:
        outputs[number].targets = tuple(result['bbox_targets'])

    handles = [
        extractor.register_forward_pre_hook(pooled, with_kwargs=True),
        head.fc_cls.register_forward_pre_hook(classified),
        head.register_forward_hook(answered),
    ]
    try:
        with record_method(head, 'loss_and_target', assigned):
            yield
    finally:
        for handle in handles:
            handle.remove()


def score_rois(
    model: HostModule, stage: int, features: Sequence[Tensor], rois: Tensor
) -> RoIOutputs:
    """Run one stage of a RoI head on given RoIs, the way the host does it."""
    extractor, head = roi_stages(model)[stage]
    outputs: dict[int, RoIOutputs] = {}
    with _record_stage(extractor, head, stage, outputs):
        if isinstance(model.roi_head.bbox_head, nn.ModuleList):
            model.roi_head._bbox_forward(stage, features, rois)
        else:
            model.roi_head._bbox_forward(features, rois)
    return outputs[stage]


def rois_key(stage: int, source: Hashable) -> Hashable:
    """Under what a run keeps the answers of a stage on the RoIs of a source."""
    return ('roi', stage, source)


def teacher_scores(
    run: FrozenRun, stage: int, rois: Tensor, source: Hashable
) -> RoIOutputs:
    """The teacher's answers on RoIs given in pixels of the student's input.

    Args:
        run: of the teacher.
        stage: of the teacher.
        rois: (R, 5).
        source: whose RoIs they are: the same ones are scored once a step.
    """
    scaled = rois.detach().clone()
    scaled[:, 1:] *= run.scale

    def score() -> RoIOutputs:
        outputs = score_rois(run.model, stage, run.features, scaled)
        return replace(outputs, maps=(), pooled=None)  # large, and read by nobody

    return run.once(rois_key(stage, source), score, per_image=False)


def teacher_proposals(run: FrozenRun, samples: Samples, number: int) -> Tensor:
    """The teacher's best proposals (R, 5), in pixels of the student's input.

    Args:
        run: of the teacher.
        samples: of the batch, preprocessed for the student.
        number: how many to keep an image.
    """
    from mmdet.structures.bbox import bbox2roi

    metas = []
    for sample in samples:
        meta = dict(sample.metainfo)
        meta['img_shape'] = tuple(side * run.scale for side in meta['img_shape'][:2])
        metas.append(meta)
    logits, deltas = uncropped_rpn(run)
    with frozen(run.model):
        results = run.model.rpn_head.predict_by_feat(
            list(logits), list(deltas), batch_img_metas=metas, rescale=False
        )
    rois: Tensor = bbox2roi([result.bboxes[:number] for result in results])
    rois[:, 1:] /= run.scale
    return rois
