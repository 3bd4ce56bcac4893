"""Readers of the parts of a host's predictions that are compared."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...errors import ConfigError, DistillationError, located
from ...host_types import DataSample, HostModule
from ...teachers.class_map import ClassMap
from .boxes import Boxes, BoxFidelity, plain_boxes
from .pixels import PixelFidelity, sample_pixels
from .rois import class_mismatch


class Reader(Protocol):
    """Reads the predictions of each image, and adds them up."""

    @property
    def fidelity(self) -> PixelFidelity | BoxFidelity:
        """The sums."""

    def read(self, predicted: DataSample, annotated: DataSample, which: str) -> Any:
        """The part of one image's prediction that is compared, small, on the CPU.

        Args:
            predicted: a data sample of the host, from ``predict``.
            annotated: the data sample with the annotations.
            which: model of the prediction, 'student' or 'teacher'.
        """

    def add(self, student: Any, teacher: Any, annotated: DataSample) -> None:
        """Add what :meth:`read` returned for both models, of one image."""


def reader_of(
    predicted: DataSample,
    student: HostModule,
    teacher: HostModule,
    class_map: ClassMap | None,
    pixels: int,
    score_thr: float,
) -> Reader:
    """The reader for the predictions of a model.

    Args:
        predicted: a data sample of the host, from ``predict``.
        student: the student model.
        teacher: the teacher model.
        class_map: for a teacher of other classes; None: the same classes.
        pixels: the most pixels of an image, for segmentation.
        score_thr: lowest score of a detection.

    Raises: ConfigError for predictions with neither pixels nor boxes, and for heads
        whose pixels cannot be compared.
    """
    if 'seg_logits' in predicted:
        for which, model in (('student', student), ('teacher', teacher)):
            _check_softmax(model, which)
        _check_classes(student, teacher, class_map)
        return PixelReader(_head(student).ignore_index, pixels, class_map)
    if 'pred_instances' in predicted and 'bboxes' in predicted.pred_instances:
        return BoxReader(score_thr, class_map)
    raise ConfigError(
        f'FidelityHook compares pixels (seg_logits) or boxes (pred_instances), got '
        f'{sorted(predicted.keys())} from a {type(student).__name__}. Remove the hook '
        'from custom_hooks.'
    )


class PixelReader:
    """Logits of an image's sampled pixels, (M, K); 4 M K bytes.

    With a class map only those of shared classes, of pixels labelled with one.
    """

    def __init__(
        self, ignore_index: int | None, pixels: int, class_map: ClassMap | None
    ) -> None:
        self.fidelity = PixelFidelity()
        self._ignore_index = ignore_index
        self._pixels = pixels
        self._classes = class_map

    def read(self, predicted: DataSample, annotated: DataSample, which: str) -> Tensor:
        logits = predicted.seg_logits.data
        labels = _labels(annotated)
        if logits.shape[1:] != labels.shape[-2:]:
            raise DistillationError(
                f'the labels of a validation image are {tuple(labels.shape[-2:])}, the '
                f'predictions {tuple(logits.shape[1:])}: pixels cannot be compared. '
                'Load annotations after Resize in the validation pipeline, as the '
                "host's configurations do."
            )
        if len(logits) == 1:  # the host gives the probability of the second class
            logits = torch.cat([torch.zeros_like(logits), logits.logit(eps=1e-7)])
        indices, _ = self._sampled(labels)
        rows: Tensor = logits.flatten(1)[:, indices.to(logits.device)].T
        if self._classes is not None:
            rows = (
                self._classes.of_student(rows)
                if which == 'student'
                else self._classes.of_teacher(rows)
            )
        return rows.float().cpu()

    def add(self, student: Tensor, teacher: Tensor, annotated: DataSample) -> None:
        _, labels = self._sampled(_labels(annotated))
        self.fidelity.add(student, teacher, labels.cpu())

    def _sampled(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of the pixels to compare, and their labels."""
        ignored, flat = self._ignore_index, labels.flatten()
        if self._classes is not None:
            kept = (flat >= 0) & (flat < len(self._classes.student))
            if ignored is not None:
                kept &= flat != ignored
            flat, shared = self._classes.shared_labels(flat.masked_fill(~kept, 0))
            ignored, flat = -1, flat.masked_fill(~(kept & shared), -1)
        indices = sample_pixels(flat, ignored, self._pixels)
        return indices, flat[indices]


class BoxReader:
    """Detections of an image with at least ``score_thr``; 28 bytes each.

    With a class map only detections and annotations of shared classes.
    """

    def __init__(self, score_thr: float, class_map: ClassMap | None) -> None:
        self.fidelity = BoxFidelity(score_thr)
        self._classes = class_map

    def read(self, predicted: DataSample, annotated: DataSample, which: str) -> Boxes:
        instances = predicted.pred_instances
        boxes = Boxes(
            plain_boxes(instances.bboxes).cpu(),
            instances.labels.cpu(),
            instances.scores.cpu(),
        )
        return self._shared(boxes, which).above(self.fidelity.score_thr)

    def add(self, student: Boxes, teacher: Boxes, annotated: DataSample) -> None:
        truth = None
        if 'gt_instances' in annotated and 'bboxes' in annotated.gt_instances:
            instances = annotated.gt_instances
            labels = instances.labels.cpu()
            truth = Boxes(
                plain_boxes(instances.bboxes).cpu(), labels, torch.ones(len(labels))
            )
            truth = self._shared(truth, 'student')
        self.fidelity.add(student, teacher, truth)

    def _shared(self, boxes: Boxes, which: str) -> Boxes:
        """The boxes of shared classes, labelled with the numbers of these classes."""
        if self._classes is None:
            return boxes
        labels, shared = (
            self._classes.shared_labels(boxes.labels)
            if which == 'student'
            else self._classes.shared_labels_of_teacher(boxes.labels)
        )
        return Boxes(boxes.boxes[shared], labels[shared], boxes.scores[shared])


def _labels(annotated: DataSample) -> Tensor:
    if 'gt_sem_seg' not in annotated:
        raise DistillationError(
            'a validation image has no gt_sem_seg: which of its pixels count is not '
            "known. Add LoadAnnotations to the validation dataset's pipeline."
        )
    labels: Tensor = annotated.gt_sem_seg.data
    return labels


def _head(model: HostModule) -> Any:
    head = model.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


def _check_classes(
    student: HostModule, teacher: HostModule, class_map: ClassMap | None
) -> None:
    """Check that two segmentors have the same classes, or those of the map."""
    # A single column of logits stands for two classes.
    columns = [max(_head(model).out_channels, 2) for model in (student, teacher)]
    if class_map is None:
        if columns[0] != columns[1]:
            raise class_mismatch(*columns)
        return
    with located('FidelityHook'):
        class_map.check_numbers(columns[0], columns[1])
    if len(class_map.shared) == 1:
        raise ConfigError(
            f"FidelityHook: only '{class_map.shared[0]}' is shared, and of one class "
            'all pixels agree. Name more in class_map.rename of the teacher, or remove '
            'the hook from custom_hooks.'
        )


def _check_softmax(model: HostModule, which: str) -> None:
    """Check that a softmax turns a segmentor's logits into probabilities."""
    head = _head(model)
    losses = getattr(head, 'loss_decode', None)
    every = list(losses) if isinstance(losses, nn.ModuleList) else [losses]
    if losses is None:
        kind = 'scores masks, not pixels'
    elif head.out_channels > 1 and all(
        getattr(loss, 'use_sigmoid', False) for loss in every
    ):
        kind = 'scores each class by a sigmoid'
    else:
        return
    raise ConfigError(
        f'FidelityHook: the decode_head {type(head).__name__} of the {which} {kind}, '
        'and probabilities are read by a softmax over the classes. Remove the hook '
        'from custom_hooks.'
    )
