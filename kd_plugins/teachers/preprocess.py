"""The student's preprocessed batch as the teacher's own preprocessing would give it."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, ShapeError
from ..host_types import HostModule


class Translator(Protocol):
    """Makes the inputs of a teacher."""

    def __call__(self, inputs: Tensor, data_samples: Sequence[Any] | None) -> Tensor:
        """Inputs (N, C, H', W') for the teacher, of those of the student."""

    def unpadded(self, inputs: Tensor) -> tuple[int, int]:
        """Height and width without the padding that is the teacher's alone."""

    def identity(self) -> dict[str, Any]:
        """What they depend on, beside those of the student."""


class InputTranslator:
    """From the student's normalisation and padding to those of the teacher.

    Images may have any number of channels; what a preprocessor swaps are the first and
    the third of three.

    Args:
        student: the student's data preprocessor.
        teacher: the teacher's.
        scale: size of the teacher's input over that of the student.

    Raises: ConfigError for preprocessors of different numbers of channels.
    """

    def __init__(
        self, student: HostModule, teacher: HostModule, scale: float = 1.0
    ) -> None:
        self.scale = scale
        self._divisor = size_divisor_of(teacher)
        self._pad_value = pad_value_of(teacher)
        self._same_padding = pad_value_of(student) == self._pad_value
        before, after = Normalisation(student), Normalisation(teacher)
        self._channels = _shared_channels(before, after)
        self._same_statistics = before.has_statistics_of(after)
        self._swaps_channels = before.swaps_channels != after.swaps_channels
        # Both normalisations in one step, in the teacher's order of channels: less
        # rounding than by way of the raw values.
        mean, std = before.mean, before.std
        if self._swaps_channels and self._channels == 3:
            mean, std = (item.expand(3).flip(0) for item in (mean, std))
        self._factor = std / after.std
        self._shift = (mean - after.mean) / after.std
        self._constants: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}

    def identity(self) -> dict[str, Any]:
        """What the teacher's inputs depend on, beside those of the student."""
        return {
            'scale': self.scale,
            'size_divisor': self._divisor,
            'pad_value': self._pad_value,
            'same_padding': self._same_padding,
            'swaps_channels': self._swaps_channels,
            'factor': self._factor.tolist(),
            'shift': self._shift.tolist(),
        }

    def unpadded(self, inputs: Tensor) -> tuple[int, int]:
        """Height and width of the student's inputs at the teacher's scale."""
        height, width = inputs.shape[-2:]
        return round(height * self.scale), round(width * self.scale)

    def __call__(self, inputs: Tensor, data_samples: Sequence[Any] | None) -> Tensor:
        """Inputs for the teacher.

        Args:
            inputs: (N, C, H, W), normalised and padded for the student.
            data_samples: of the batch; ``img_shape`` tells each image's valid area.

        Returns: (N, C, H', W'), normalised and padded for the teacher.
        Raises: ShapeError for images of other channels than the means are for.
        """
        channels = inputs.shape[1]
        if self._channels not in (1, channels):
            raise ShapeError(
                f'the images have {channels} channels, and the mean of a '
                f'data_preprocessor, of the student or of the teacher, has '
                f'{self._channels} numbers. Both models must read images of as many '
                'channels, and mean and std have a number for each, or one for all.'
            )
        swaps = self._swaps_channels and channels == 3
        same_values = self._same_statistics and not swaps
        size = padded_size(self.unpadded(inputs), self._divisor)
        if size == inputs.shape[-2:] and same_values and self._same_padding:
            return inputs
        values = inputs.flip(1) if swaps else inputs
        if not same_values:
            values = self._normalise(values)
        translated = values.new_full((*values.shape[:2], *size), self._pad_value)
        areas = _valid_areas(inputs, data_samples)
        for image, source, (valid_height, valid_width) in zip(
            translated, values, areas, strict=True
        ):
            # Each image alone: resized together with it, padding would blend in.
            valid = source[:, :valid_height, :valid_width]
            scaled = valid if self.scale == 1 else resized(valid, self.scale)
            image[:, : scaled.shape[1], : scaled.shape[2]] = scaled
        return translated

    def _normalise(self, values: Tensor) -> Tensor:
        key = (values.device, values.dtype)
        if key not in self._constants:  # a copy to the device at every step would wait
            self._constants[key] = (
                self._factor.to(values).view(1, -1, 1, 1),
                self._shift.to(values).view(1, -1, 1, 1),
            )
        factor, shift = self._constants[key]
        return values * factor + shift


def resized(image: Tensor, scale: float) -> Tensor:
    """An image (C, H, W) at another size, bilinear."""
    size = [max(round(side * scale), 1) for side in image.shape[-2:]]
    return F.interpolate(image[None], size=size, mode='bilinear', align_corners=False)[
        0
    ]


class Normalisation:
    """What a data preprocessor does to raw values.

    Args:
        preprocessor: of either host.

    Attributes:
        swaps_channels: whether it swaps the first and the third of three channels.
        mean: one number, or one a channel.
        std: likewise.
    """

    def __init__(self, preprocessor: HostModule) -> None:
        # The latter is the name of mmseg 1.2.
        self.swaps_channels = bool(
            _first(preprocessor, '_channel_conversion', 'channel_conversion')
        )
        self.mean, self.std = torch.zeros(1).double(), torch.ones(1).double()
        if getattr(preprocessor, '_enable_normalize', False):
            self.mean = preprocessor.mean.detach().cpu().double().flatten()
            self.std = preprocessor.std.detach().cpu().double().flatten()

    @property
    def channels(self) -> int:
        """How many it is for; 1 if for any."""
        return max(len(self.mean), len(self.std))

    def has_statistics_of(self, other: 'Normalisation') -> bool:
        """Whether mean and standard deviation are the same."""
        return bool((self.mean == other.mean).all() and (self.std == other.std).all())


def _shared_channels(student: Normalisation, teacher: Normalisation) -> int:
    channels = {student.channels, teacher.channels} - {1}
    if len(channels) > 1:
        raise ConfigError(
            f"the student's data_preprocessor normalises {student.channels} channels, "
            f"the teacher's {teacher.channels}: both must see the same images. Choose "
            'a teacher of as many channels.'
        )
    return channels.pop() if channels else 1


def padded_size(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """Height and width, enlarged to multiples of a number.

    Example:
        >>> padded_size((60, 64), 32)
        (64, 64)
    """
    height, width = size
    return height + -height % divisor, width + -width % divisor


def _first(preprocessor: HostModule, *names: str) -> Any:
    """The first of these attributes that is there and not None."""
    values = (getattr(preprocessor, name, None) for name in names)
    return next((value for value in values if value is not None), None)


def size_divisor_of(preprocessor: HostModule) -> int:
    """What a preprocessor makes the sides of a batch multiples of."""
    return int(_first(preprocessor, 'pad_size_divisor', 'size_divisor') or 1)


def pad_value_of(preprocessor: HostModule) -> float:
    """What a preprocessor pads images with, after normalisation."""
    return float(_first(preprocessor, 'pad_value', 'pad_val') or 0)


def _valid_areas(
    inputs: Tensor, data_samples: Sequence[Any] | None
) -> list[tuple[int, int]]:
    height, width = inputs.shape[-2:]
    whole = (int(height), int(width))
    if not data_samples:
        return [whole] * len(inputs)
    shapes = [sample.metainfo.get('img_shape', whole)[:2] for sample in data_samples]
    return [(min(int(h), whole[0]), min(int(w), whole[1])) for h, w in shapes]
