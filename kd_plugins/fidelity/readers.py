"""What of a host's predictions is compared, and of the teacher's is kept."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DistillationError
from .boxes import Boxes, BoxFidelity, plain_boxes
from .pixels import PixelFidelity, sample_pixels


class Reader(Protocol):
    """Reads predictions of images one by one, and adds them up."""

    @property
    def fidelity(self) -> PixelFidelity | BoxFidelity:
        """What is added up."""

    def read(self, predicted: Any, annotated: Any) -> Any:
        """What is compared of one image: small, and on the CPU.

        Args:
            predicted: a data sample of the host, from ``predict``.
            annotated: likewise, whose annotations are read.
        """

    def add(self, student: Any, teacher: Any, annotated: Any) -> None:
        """Add what was read of both models' predictions of one image."""


def reader_of(
    predicted: Any, student: Any, teacher: Any, pixels: int, score_thr: float
) -> Reader:
    """The reader for what a model predicts.

    Args:
        predicted: a data sample of the host, from ``predict``.
        student: the student model.
        teacher: the teacher's.
        pixels: of each image at most, where pixels are classified.
        score_thr: lowest score of a detection.

    Raises: ConfigError for predictions that have neither.
    """
    if 'seg_logits' in predicted:
        for which, model in (('student', student), ('teacher', teacher)):
            _check_softmax(model, which)
        head = _head(student)
        return PixelReader(head.ignore_index, pixels)
    if 'pred_instances' in predicted and 'bboxes' in predicted.pred_instances:
        return BoxReader(score_thr)
    raise ConfigError(
        f'FidelityHook compares pixels (seg_logits) or boxes (pred_instances), got '
        f'{sorted(predicted.keys())} from a {type(student).__name__}. Remove the hook '
        'from custom_hooks.'
    )


class PixelReader:
    """Logits of an image's sampled pixels, (M, K); 4 M K bytes."""

    def __init__(self, ignore_index: int | None, pixels: int) -> None:
        self.fidelity = PixelFidelity()
        self._ignore_index = ignore_index
        self._pixels = pixels

    def read(self, predicted: Any, annotated: Any) -> Tensor:
        logits = predicted.seg_logits.data
        labels = _labels(annotated)
        if logits.shape[1:] != labels.shape[-2:]:
            raise DistillationError(
                f'the labels of a validation image are {tuple(labels.shape[-2:])}, the '
                f'predictions {tuple(logits.shape[1:])}: pixels cannot be compared. '
                'Load annotations after Resize in the validation pipeline, as the '
                "host's configurations do."
            )
        if len(logits) == 1:  # the host gives the probability of the second of two
            logits = torch.cat([torch.zeros_like(logits), logits.logit(eps=1e-7)])
        indices = sample_pixels(labels, self._ignore_index, self._pixels)
        rows: Tensor = logits.flatten(1)[:, indices.to(logits.device)].T
        return rows.float().cpu()

    def add(self, student: Tensor, teacher: Tensor, annotated: Any) -> None:
        if student.shape[1] != teacher.shape[1]:
            raise ConfigError(
                f'FidelityHook: the student scores {student.shape[1]} classes, the '
                f'teacher {teacher.shape[1]}. Remove the hook from custom_hooks, or '
                'choose a teacher of the same classes.'
            )
        labels = _labels(annotated)
        indices = sample_pixels(labels, self._ignore_index, self._pixels)
        self.fidelity.add(student, teacher, labels.flatten()[indices].cpu())


class BoxReader:
    """Detections of an image, from a score on; 28 bytes each."""

    def __init__(self, score_thr: float) -> None:
        self.fidelity = BoxFidelity(score_thr)

    def read(self, predicted: Any, annotated: Any) -> Boxes:
        found = predicted.pred_instances
        boxes = Boxes(
            plain_boxes(found.bboxes).cpu(), found.labels.cpu(), found.scores.cpu()
        )
        return boxes.above(self.fidelity.score_thr)

    def add(self, student: Boxes, teacher: Boxes, annotated: Any) -> None:
        truth = None
        if 'gt_instances' in annotated and 'bboxes' in annotated.gt_instances:
            instances = annotated.gt_instances
            labels = instances.labels.cpu()
            truth = Boxes(
                plain_boxes(instances.bboxes).cpu(), labels, torch.ones(len(labels))
            )
        self.fidelity.add(student, teacher, truth)


def _labels(annotated: Any) -> Tensor:
    if 'gt_sem_seg' not in annotated:
        raise DistillationError(
            'a validation image has no gt_sem_seg: which of its pixels count is not '
            "known. Add LoadAnnotations to the validation dataset's pipeline."
        )
    labels: Tensor = annotated.gt_sem_seg.data
    return labels


def _head(model: Any) -> Any:
    head = model.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


def _check_softmax(model: Any, which: str) -> None:
    """See to it that a segmentor's logits become probabilities by a softmax."""
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
