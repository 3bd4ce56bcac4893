"""Class logits of the same RoIs: do two RoI heads say the same."""

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ConfigError, located
from ...host_types import HostModule
from ...recorders import Records
from ...teachers.class_map import ClassMap
from ...views.roi.outputs import RoIRecorder, roi_stages, score_rois
from ...views.run import frozen
from .agreement import agreement, predictive_divergence


@dataclass
class KeptRoIs:
    """What is kept of the teacher's RoIs of a batch, on the CPU.

    Attributes:
        rois: (R, 5), image number and corners in pixels of the student's input.
        logits: of the teacher, (R, K + 1), background last; with a class map of the
            shared classes alone.
    """

    rois: Tensor
    logits: Tensor


class RoIFidelity:
    """Agreement and divergence of two RoI heads on the teacher's best proposals.

    Each head pools the RoIs from its own features; of a cascade it is the first stage.
    As the teacher proposes, the RoIs are the same at every validation, and it runs only
    once.

    - ``roi_agreement``: :func:`~kd_plugins.evaluation.fidelity.agreement` of classes,
      background included,
    - ``roi_kl``: :func:`~kd_plugins.evaluation.fidelity.predictive_divergence`, in
      nats.

    Args:
        number: RoIs of an image, at most.
        scale: the teacher's input size over the student's.
        class_map: where the teacher knows other classes.
    """

    def __init__(
        self, number: int, scale: float = 1.0, class_map: ClassMap | None = None
    ) -> None:
        self._number = number
        self._scale = scale
        self._classes = class_map
        # RoIs, those of the same class, and their divergence.
        self.sums = torch.zeros(3, dtype=torch.float64)

    def recorders(self) -> list[RoIRecorder]:
        """What to attach to either model while it predicts."""
        return [RoIRecorder()]

    def read(self, records: Records) -> KeptRoIs | None:
        """The teacher's best RoIs of a batch; None where it proposed nothing.

        Args:
            records: of what was attached to the teacher.
        """
        found = records[RoIRecorder()]
        if 0 not in found:
            return None
        outputs = found[0]
        assert outputs.logits is not None
        # Image after image, of each the best first.
        image = outputs.rois[:, 0].contiguous()
        rank = torch.arange(len(image), device=image.device)
        best = rank - torch.searchsorted(image, image) < self._number
        rois = outputs.rois[best].cpu()
        rois[:, 1:] /= self._scale
        logits = outputs.logits[best].float().cpu()
        if self._classes is not None:
            logits = self._classes.of_teacher(logits, background=True)
        return KeptRoIs(rois, logits)

    def add(
        self, student: HostModule, records: Records, teacher: KeptRoIs | None
    ) -> None:
        """Add a batch: the student's head runs once more, on the teacher's RoIs.

        Args:
            student: the student model, whose features were recorded.
            records: of what was attached to it.
            teacher: as :meth:`read`.
        """
        found = records[RoIRecorder()]
        if teacher is None or 0 not in found:
            return
        maps = found[0].maps
        with frozen(student):
            scored = score_rois(student, 0, maps, teacher.rois.to(maps[0]))
        assert scored.logits is not None
        logits = scored.logits.float().cpu()
        if self._classes is not None:
            logits = self._classes.of_student(logits, background=True)
        rows = len(logits)
        self.sums += torch.tensor(
            [
                rows,
                round(float(agreement(logits, teacher.logits)) * rows),
                float(predictive_divergence(logits, teacher.logits, reduction='sum')),
            ],
            dtype=torch.float64,
        )

    def values(self) -> dict[str, float]:
        """What can be said of all RoIs, by name; NaN without any."""
        rois, same, divergence = self.sums
        return {
            'roi_agreement': float(same / rois),
            'roi_kl': float(divergence / rois),
        }


def roi_fidelity(
    student: HostModule,
    teacher: HostModule,
    class_map: ClassMap | None,
    number: int,
    scale: float,
) -> RoIFidelity | None:
    """That of two models; None unless both have RoI heads that can be compared.

    Args:
        student: the student model.
        teacher: the teacher's.
        class_map: where it knows other classes.
        number: RoIs of an image, at most.
        scale: the teacher's input size over the student's.

    Raises: ConfigError for heads of other numbers of classes.
    """
    models, heads = (student, teacher), []
    with suppress(ConfigError):  # a RoI head of another kind
        if all(hasattr(model, 'roi_head') for model in models):
            heads = [roi_stages(model)[0][1] for model in models]
    # Of columns trained by a sigmoid no softmax gives probabilities.
    if not heads or any(getattr(head.loss_cls, 'use_sigmoid', False) for head in heads):
        return None
    classes = [head.num_classes for head in heads]
    if class_map is not None:
        with located('FidelityHook'):
            class_map.check_numbers(classes[0], classes[1])
    elif classes[0] != classes[1]:
        raise other_classes(*classes)
    return RoIFidelity(number, scale, class_map)


def other_classes(student: int, teacher: int) -> ConfigError:
    """What to say where two models know other numbers of classes, and no map is."""
    return ConfigError(
        f'FidelityHook: the student scores {student} classes, the teacher {teacher}. '
        "Name those of both in the teacher's class_map, choose another teacher, or "
        'remove the hook from custom_hooks.'
    )
