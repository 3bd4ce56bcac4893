"""Fidelity of the class logits of two RoI heads on the same RoIs."""

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
    """The teacher's RoIs of a batch, and their logits, on the CPU.

    Attributes:
        rois: (R, 5), image number and corners in pixels of the student's input.
        logits: of the teacher, (R, K + 1), background last; with a class map only of
            the shared classes.
    """

    rois: Tensor
    logits: Tensor


class RoIFidelity:
    """Agreement and divergence of two RoI heads on the teacher's best proposals.

    Each head pools the RoIs from the features of its model; of a cascade only the first
    stage is compared. The proposals of the teacher are the same at every validation, so
    the teacher runs only once.

    - ``roi_agreement``: :func:`~kd_plugins.evaluation.fidelity.agreement` of classes,
      background included,
    - ``roi_kl``: :func:`~kd_plugins.evaluation.fidelity.predictive_divergence`, in
      nats.

    Args:
        number: RoIs of an image, at most.
        scale: the teacher's input size over the student's.
        class_map: for a teacher of other classes; None: the same classes.
    """

    def __init__(
        self, number: int, scale: float = 1.0, class_map: ClassMap | None = None
    ) -> None:
        self._number = number
        self._scale = scale
        self._classes = class_map
        # Number of RoIs, RoIs of the same class, and divergence.
        self.sums = torch.zeros(3, dtype=torch.float64)

    def recorders(self) -> list[RoIRecorder]:
        """Recorders to attach to each model while it predicts."""
        return [RoIRecorder()]

    def read(self, records: Records) -> KeptRoIs | None:
        """The teacher's best RoIs of a batch; None without proposals.

        Args:
            records: of the teacher's recorders.
        """
        stages = records[RoIRecorder()]
        if 0 not in stages:
            return None
        outputs = stages[0]
        assert outputs.logits is not None
        # Sorted by image, and by score within an image.
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
            records: of the student's recorders.
            teacher: as returned by :meth:`read`.
        """
        stages = records[RoIRecorder()]
        if teacher is None or 0 not in stages:
            return
        maps = stages[0].maps
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
        """The values over all RoIs, by name; NaN without RoIs."""
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
    """The RoI fidelity of two models; None unless their RoI heads can be compared.

    Args:
        student: the student model.
        teacher: the teacher model.
        class_map: for a teacher of other classes; None: the same classes.
        number: RoIs of an image, at most.
        scale: the teacher's input size over the student's.

    Raises: ConfigError for heads of different numbers of classes.
    """
    models, heads = (student, teacher), []
    with suppress(ConfigError):  # a RoI head of another kind
        if all(hasattr(model, 'roi_head') for model in models):
            heads = [roi_stages(model)[0][1] for model in models]
    # A softmax of sigmoid logits gives no probabilities.
    if not heads or any(getattr(head.loss_cls, 'use_sigmoid', False) for head in heads):
        return None
    classes = [head.num_classes for head in heads]
    if class_map is not None:
        with located('FidelityHook'):
            class_map.check_numbers(classes[0], classes[1])
    elif classes[0] != classes[1]:
        raise class_mismatch(*classes)
    return RoIFidelity(number, scale, class_map)


def class_mismatch(student: int, teacher: int) -> ConfigError:
    """The error for models of different numbers of classes without a class map."""
    return ConfigError(
        f'FidelityHook: the student scores {student} classes, the teacher {teacher}. '
        "Name those of both in the teacher's class_map, choose another teacher, or "
        'remove the hook from custom_hooks.'
    )
