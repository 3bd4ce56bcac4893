"""The student's preprocessed batch as the teacher's own preprocessing would give it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class InputTranslator:
    """From the student's normalisation and padding to those of the teacher.

    Args:
        student: the student's data preprocessor.
        teacher: the teacher's.
        scale: size of the teacher's input over that of the student.
    """

    def __init__(self, student: Any, teacher: Any, scale: float = 1.0) -> None:
        self.scale = scale
        self._divisor = int(_first(teacher, 'pad_size_divisor', 'size_divisor') or 1)
        self._pad_value = _pad_value(teacher)
        own, other = _Normalisation(student), _Normalisation(teacher)
        self._same_values = own == other
        self._same_padding = _pad_value(student) == self._pad_value
        self._swaps_channels = own.swaps_channels != other.swaps_channels
        # Both normalisations in one step, in the teacher's order of channels: less
        # rounding than by way of the raw values.
        mean, std = own.mean, own.std
        if self._swaps_channels:
            mean, std = mean.flip(0), std.flip(0)
        self._factor = std / other.std
        self._shift = (mean - other.mean) / other.std
        self._constants: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}

    def unpadded(self, inputs: Tensor) -> tuple[int, int]:
        """Height and width of the student's inputs at the teacher's scale."""
        height, width = inputs.shape[-2:]
        return round(height * self.scale), round(width * self.scale)

    def __call__(self, inputs: Tensor, data_samples: list[Any] | None) -> Tensor:
        """Inputs for the teacher.

        Args:
            inputs: (N, 3, H, W), normalised and padded for the student.
            data_samples: of the batch; ``img_shape`` tells each image's valid area.

        Returns: (N, 3, H', W'), normalised and padded for the teacher.
        """
        height, width = self.unpadded(inputs)
        size = (height + -height % self._divisor, width + -width % self._divisor)
        if size == inputs.shape[-2:] and self._same_values and self._same_padding:
            return inputs
        values = inputs if self._same_values else self._normalise(inputs)
        translated = values.new_full((*values.shape[:2], *size), self._pad_value)
        areas = _valid_areas(inputs, data_samples)
        for image, own, (valid_height, valid_width) in zip(
            translated, values, areas, strict=True
        ):
            # Each image alone: resized together with it, padding would blend in.
            own = self._resize(own[:, :valid_height, :valid_width])
            image[:, : own.shape[1], : own.shape[2]] = own
        return translated

    def _normalise(self, values: Tensor) -> Tensor:
        if self._swaps_channels:
            values = values.flip(1)
        key = (values.device, values.dtype)
        if key not in self._constants:  # a copy to the device at every step would wait
            self._constants[key] = (
                self._factor.to(values).view(1, -1, 1, 1),
                self._shift.to(values).view(1, -1, 1, 1),
            )
        factor, shift = self._constants[key]
        return values * factor + shift

    def _resize(self, image: Tensor) -> Tensor:
        if self.scale == 1:
            return image
        size = [max(round(side * self.scale), 1) for side in image.shape[-2:]]
        return F.interpolate(
            image[None], size=size, mode='bilinear', align_corners=False
        )[0]


class _Normalisation:
    """What a data preprocessor does to raw BGR values."""

    def __init__(self, preprocessor: Any) -> None:
        # The latter is the name of mmseg 1.2.
        self.swaps_channels = bool(
            _first(preprocessor, '_channel_conversion', 'channel_conversion')
        )
        self.mean, self.std = torch.zeros(3).double(), torch.ones(3).double()
        if getattr(preprocessor, '_enable_normalize', False):
            self.mean = preprocessor.mean.detach().cpu().double().flatten().expand(3)
            self.std = preprocessor.std.detach().cpu().double().flatten().expand(3)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Normalisation)
            and self.swaps_channels == other.swaps_channels
            and torch.equal(self.mean, other.mean)
            and torch.equal(self.std, other.std)
        )

    __hash__ = None  # type: ignore[assignment]


def _first(preprocessor: Any, *names: str) -> Any:
    """The first of these attributes that is there and not None."""
    found = (getattr(preprocessor, name, None) for name in names)
    return next((value for value in found if value is not None), None)


def _pad_value(preprocessor: Any) -> float:
    return float(_first(preprocessor, 'pad_value', 'pad_val') or 0)


def _valid_areas(
    inputs: Tensor, data_samples: list[Any] | None
) -> list[tuple[int, int]]:
    height, width = inputs.shape[-2:]
    whole = (int(height), int(width))
    if not data_samples:
        return [whole] * len(inputs)
    shapes = [sample.metainfo.get('img_shape', whole)[:2] for sample in data_samples]
    return [(min(int(h), whole[0]), min(int(w), whole[1])) for h, w in shapes]
