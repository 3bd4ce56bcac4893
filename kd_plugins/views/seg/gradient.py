"""What the classes of a segmentor's pixels depend on in its images: their gradient."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError, DistillationError, located
from ...host_types import Samples
from ...losses import LossContext
from ...recorders import Recorder
from ...registry import VIEWS
from ...teachers.preprocess import InputTranslator
from ..base import SIDES, MatchedTensors, TensorSpec, UnservedError
from ..probe import Probe, input_channels
from ..run import FrozenRun, ModelRun
from ..view import BoundView, View
from .decode import DECODE_HEAD, DecodeRecorder
from .heads import main_logits, seg_head
from .labels import LabelCheck, labels_at
from .view import bind_logits

GRADIENT_KEY = 'gradient'


@dataclass
class Images:
    """What the backbone read, as a leaf that takes a gradient."""

    seen: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class ImageRecorder(Recorder[Images]):
    """Lets the images of a model take a gradient; their values stay as they are."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[Images]:
        """Record within the block; yields the images, call by call."""
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


@VIEWS.register_module(name='seg.gradient')
class SegGradientView(View):
    """Gradients (N, C, H, W) of the cross-entropy of the labels by the images.

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

    def bind(self, probe: Probe) -> BoundView:
        _, activations = bind_logits(probe, None, 'student')
        if probe.class_map is not None or probe.scale != 1:
            raise ConfigError(
                'gradients by the image are compared of the same image and the same '
                "classes. Remove the teacher's class_map and input_scale."
            )
        if not probe.same_images:
            raise ConfigError(
                'gradients by the image are compared of the same image, and teacher '
                f"'{probe.teacher_name}' sees another one. Compare seg.logits."
            )
        for side in SIDES:
            with located(f'({side})'):
                if activations[side] != 'softmax':
                    raise UnservedError(
                        'needs classes of a softmax, the decode_head trains them by a '
                        'sigmoid.'
                    )
                if isinstance(probe.model(side).decode_head, nn.ModuleList):
                    raise UnservedError(
                        'the decode_head is a cascade, expected a single one.'
                    )
        shape = (1, input_channels(probe.student), *probe.size)
        translator = InputTranslator(
            probe.student.data_preprocessor, probe.teacher.data_preprocessor
        )
        return BoundView(
            (TensorSpec('seg.gradient', shape, shape),),
            partial(_match, translator),
            (LabelCheck(), DecodeRecorder(), ImageRecorder()),
            teacher_parts=('neck', DECODE_HEAD),
            requires_same_classes=True,
        )


def _match(
    translator: InputTranslator,
    student: ModelRun,
    teacher: FrozenRun,
    samples: Samples,
) -> list[MatchedTensors | None]:
    head = seg_head(student.model, None)
    (images,) = student.records[ImageRecorder()].seen
    output = student.records[DecodeRecorder()].output('seg.gradient')
    ignored = head.ignore_index
    student_gradient = _gradient(
        main_logits(head, output), images, samples, ignored, True
    )
    model = teacher.exact  # through which a gradient passes
    _check_inputs(translator, images, samples)

    def of_teacher() -> Tensor:
        with teacher.exactly(), torch.enable_grad():
            seen = images.detach().requires_grad_()
            teacher_head = model.decode_head
            features = model.extract_feat(seen.to(next(model.parameters()).dtype))
            logits = main_logits(teacher_head, teacher_head.forward(features))
            return _gradient(logits, seen, samples, ignored, False)

    teacher_gradient = teacher.once(GRADIENT_KEY, of_teacher)
    count = float(len(images))
    return [
        MatchedTensors(
            student_gradient, teacher_gradient, count=count, context=LossContext()
        )
    ]


def _gradient(
    logits: Tensor,
    images: Tensor,
    samples: Samples,
    ignore_index: int | None,
    create_graph: bool,
) -> Tensor:
    """Of the images' mean cross-entropies, summed, by the images."""
    if not logits.requires_grad:
        raise DistillationError(
            'seg.gradient: within torch.no_grad() there are no gradients to '
            'compare. Compute the losses outside of it.'
        )
    labels, mask = labels_at(logits.shape[2:], samples, ignore_index)
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


def _check_inputs(
    translator: InputTranslator, images: Tensor, samples: Samples
) -> None:
    """Refuse a teacher that would see other values than the student."""
    seen = images.detach()
    if translator(seen, samples) is not seen:
        raise DistillationError(
            'seg.gradient: student and teacher normalise or pad images differently, '
            'and their gradients by an image cannot be compared. Give both the same '
            'data_preprocessor, or use seg.logits.'
        )
