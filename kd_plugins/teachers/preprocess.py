"""The student's preprocessed batch as the teacher's own preprocessing would give it."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


class InputTranslator:
    """Undo the student's normalisation, do the teacher's, and reset the padding.

    Args:
        student: the student's data preprocessor.
        teacher: the teacher's.
        scale: size of the teacher's input over that of the student.
    """

    def __init__(self, student: Any, teacher: Any, scale: float = 1.0) -> None:
        self._student = _Normalisation(student)
        self._teacher = _Normalisation(teacher)
        self.scale = scale
        self._divisor = int(getattr(teacher, 'pad_size_divisor', None) or 1)
        self._pad_value = float(getattr(teacher, 'pad_value', 0) or 0)
        student_pad = float(getattr(student, 'pad_value', 0) or 0)
        self._same_values = (
            self._student == self._teacher and student_pad == self._pad_value
        )

    def __call__(self, inputs: Tensor, data_samples: list[Any]) -> Tensor:
        """Inputs for the teacher.

        Args:
            inputs: (N, 3, H, W), normalised and padded for the student.
            data_samples: of the batch; ``img_shape`` tells each image's valid area.

        Returns: (N, 3, H', W'), normalised and padded for the teacher.
        """
        height, width = (int(side * self.scale) for side in inputs.shape[-2:])
        padding = (-width % self._divisor, -height % self._divisor)
        if self._same_values and self.scale == 1 and padding == (0, 0):
            return inputs
        translated = inputs.detach()
        if not self._same_values:
            translated = self._teacher.apply(self._student.undo(translated))
        if self.scale != 1:
            translated = F.interpolate(
                translated, size=(height, width), mode='bilinear', align_corners=False
            )
        translated = F.pad(
            translated, (0, padding[0], 0, padding[1]), value=self._pad_value
        )
        for image, sample in zip(translated, data_samples or [], strict=False):
            valid = [
                round(side * self.scale) for side in sample.metainfo['img_shape'][:2]
            ]
            image[:, valid[0] :] = self._pad_value
            image[:, :, valid[1] :] = self._pad_value
        return translated


class _Normalisation:
    """What a data preprocessor does to raw BGR values."""

    def __init__(self, preprocessor: Any) -> None:
        self._rgb = bool(getattr(preprocessor, '_channel_conversion', False))
        enabled = bool(getattr(preprocessor, '_enable_normalize', False))
        self._mean = preprocessor.mean.flatten().tolist() if enabled else [0.0] * 3
        self._std = preprocessor.std.flatten().tolist() if enabled else [1.0] * 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Normalisation) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self._rgb, *self._mean, *self._std))

    def apply(self, raw: Tensor) -> Tensor:
        image = raw[:, [2, 1, 0]] if self._rgb else raw
        return (image - self._column(self._mean, raw)) / self._column(self._std, raw)

    def undo(self, image: Tensor) -> Tensor:
        raw = image * self._column(self._std, image) + self._column(self._mean, image)
        return raw[:, [2, 1, 0]] if self._rgb else raw

    def _column(self, values: list[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)
