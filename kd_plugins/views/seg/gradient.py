"""What the classes of a segmentor's pixels depend on in its images: their gradient."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError, DistillationError
from ...losses import LossContext
from ...registry import VIEWS
from ...teachers.preprocess import InputTranslator
from ..base import MatchedTensors, Place, Recorder, View
from ..probe import SIDE
from .decode import DECODE_HEAD, DecodeRecorder
from .labels import labels_at
from .view import SegView, main_logits, seg_head


@dataclass
class Images:
    """What the backbone read, as a leaf that takes a gradient."""

    seen: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class ImageRecorder(Recorder):
    """Lets the images of a model take a gradient; their values stay as they are."""

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[Images]:
        images = Images()

        def lead(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            leaf = args[0].detach().requires_grad_()
            images.seen.append(leaf)
            return (leaf, *args[1:])

        handle = model.get_submodule('backbone').register_forward_pre_hook(lead)
        try:
            yield images
        finally:
            handle.remove()


@VIEWS.register_module()
class SegGradientView(View):
    """Gradients (N, 3, H, W) of the cross-entropy of the labels by the images.

    Of the sum over images, each the mean over its labelled pixels, at the size of the
    logits: so it does not depend on how many there are, but for the student's batch
    norms. The task's other losses, and how it weighs classes, take no part. The
    student's has a graph, so every layer of the student must have a second derivative:
    synchronised batch norms, blocks with activation checkpointing and most operators of
    mmcv have none. The teacher runs once more, with a graph; its head's losses do not.

    Both must normalise and pad images alike, know the same classes by a softmax, and
    have one decode head each.

    Source: Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017,
        https://arxiv.org/abs/1612.03928.
    """

    def __init__(self) -> None:
        self._logits = SegView('logits')
        self._context = LossContext()

    def bind(self, probe: Any, where: str) -> list[Place]:
        (place,) = self._logits.bind(probe, where)
        if probe.class_map is not None or probe.scale != 1:
            raise ConfigError(
                f'{where}.view: gradients by the image are compared of the same image '
                "and the same classes. Remove the teacher's class_map and input_scale."
            )
        if place.context.activation != 'softmax':
            raise ConfigError(
                f'{where}.view: needs classes of a softmax, the decode_head trains '
                'them by a sigmoid. Use seg.logits.'
            )
        for which in ('student', 'teacher'):
            if isinstance(getattr(probe, which).decode_head, nn.ModuleList):
                raise ConfigError(
                    f'{where}.view: the decode_head of the {which} is a cascade, '
                    'expected a single one. Use seg.logits.'
                )
        shape = (place.student[0], 3, SIDE, SIDE)
        return [Place('seg.gradient', shape, shape, context=self._context)]

    def teacher_parts(self) -> tuple[str, ...]:
        return ('neck', DECODE_HEAD)

    @property
    def requires_same_classes(self) -> bool:
        """True: the labels are those of both."""
        return True

    def student_recorders(self) -> Sequence[Recorder]:
        return (*self._logits.student_recorders(), ImageRecorder())

    def match(self, step: Any) -> list[MatchedTensors | None]:
        head = seg_head(step.student, None, 'pairs')
        (images,) = step.captured[ImageRecorder()].seen
        output = step.captured[DecodeRecorder()].output('SegGradientView')
        ignored = head.ignore_index
        samples = step.data_samples
        student = _gradient(main_logits(head, output), images, samples, ignored, True)
        model = step.teacher.model
        _check_inputs(images, step, model)
        with torch.enable_grad():
            seen = images.detach().requires_grad_()
            other = model.decode_head
            features = model.extract_feat(seen.to(next(model.parameters()).dtype))
            logits = main_logits(other, other.forward(features))
            teacher = _gradient(logits, seen, samples, ignored, False)
        count = float(len(images))
        return [MatchedTensors(student, teacher, count=count, context=self._context)]


def _gradient(
    logits: Tensor,
    images: Tensor,
    data_samples: Sequence[Any],
    ignore_index: int | None,
    create_graph: bool,
) -> Tensor:
    """Of the images' mean cross-entropies, summed, by the images."""
    if not logits.requires_grad:
        raise DistillationError(
            'SegGradientView: within torch.no_grad() there are no gradients to '
            'compare. Compute the losses outside of it.'
        )
    labels, mask = labels_at(logits.shape[2:], data_samples, ignore_index)
    with torch.autocast(logits.device.type, enabled=False):
        full = logits if logits.dtype == torch.float64 else logits.float()
        entropy = F.cross_entropy(full, labels, reduction='none')
        each = (entropy * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp(min=1)
        # Larger on its way: in float16 the gradient of a mean would vanish.
        larger = float(labels[0].numel())
        (gradient,) = torch.autograd.grad(
            larger * each.sum(), images, create_graph=create_graph
        )
        scaled: Tensor = gradient / larger
    return scaled


def _check_inputs(images: Tensor, step: Any, teacher: Any) -> None:
    """Refuse a teacher that would see other values than the student."""
    own = images.detach()
    translate = InputTranslator(
        step.student.data_preprocessor, teacher.data_preprocessor
    )
    if translate(own, step.data_samples) is not own:
        raise DistillationError(
            'SegGradientView: student and teacher normalise or pad images differently, '
            'and their gradients by an image cannot be compared. Give both the same '
            'data_preprocessor, or use seg.logits.'
        )
