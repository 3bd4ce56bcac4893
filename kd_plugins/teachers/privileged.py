"""A teacher that sees what the student does not: another view of the same sample."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import ConfigError
from ..host_types import HostModule
from ..registry import TEACHERS
from .preprocess import (
    Normalisation,
    Translator,
    pad_value_of,
    padded_size,
    size_divisor_of,
)
from .teacher import Teacher, text_or_none

TEACHER_IMAGE = 'teacher_image'
_MAKER = (
    "End the pipeline by dict(type='kd_plugins.PackPairedInputs', "
    "pack=dict(type='PackSegInputs')), or PackDetInputs, in the place of pack."
)


@TEACHERS.register_module()
class Privileged(Teacher):
    """A teacher of privileged images: sharper, without noise, or of more channels.

    The pipeline makes them, out of the same sample and by the same flips and crops, see
    :class:`~kd_plugins.datasets.PackPairedInputs`; the data sample holds them. The
    teacher's own preprocessor normalises and pads them. What pairs compare is matched
    as for any teacher: maps by their place, RoIs in its pixels (``input_scale``).

    Args:
        name: under which pairs ask for it.
        cfg: as of :class:`Teacher`; ``input``, the name under which a data sample
            holds its image, default 'teacher_image'; ``input_scale``, how many times
            as large as the student's its images are.
        student_preprocessor: as of :class:`Teacher`.

    Source: Lopez-Paz et al., Unifying Distillation and Privileged Information, ICLR
        2016, https://arxiv.org/abs/1511.03643.
    Raises: ConfigError, with the key below its own.
    """

    keys: ClassVar[tuple[str, ...]] = (*Teacher.keys, 'input')
    same_images: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        cfg: dict[str, Any],
        student_preprocessor: HostModule | None = None,
    ) -> None:
        self.input = text_or_none('input', cfg) or TEACHER_IMAGE
        plain = {key: value for key, value in cfg.items() if key != 'input'}
        super().__init__(name, plain, student_preprocessor)

    def _translator_of(
        self, preprocessor: HostModule, student_preprocessor: HostModule | None
    ) -> Translator:
        return ImagesOfSamples(preprocessor, self.input, self.scale)

    def images(self, batch: Mapping[str, Any]) -> list[Tensor]:
        """The images that the batch's data samples hold for it."""
        return images_of(batch['data_samples'], self.input)

    @property
    def source(self) -> str:
        """Where weights and images come from."""
        return f"{super().source}, sees each sample's '{self.input}'"


class ImagesOfSamples:
    """Images that data samples hold, as a preprocessor would normalise and pad them.

    Args:
        preprocessor: the teacher's.
        field: name of the images in a data sample.
        scale: their size over that of the student's images.
    """

    def __init__(self, preprocessor: HostModule, field: str, scale: float) -> None:
        self.field = field
        self.scale = scale
        self._divisor = size_divisor_of(preprocessor)
        self._pad_value = pad_value_of(preprocessor)
        self._normalisation = Normalisation(preprocessor)
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def identity(self) -> dict[str, Any]:
        """What the teacher's inputs depend on, beside the data."""
        return {
            'field': self.field,
            'scale': self.scale,
            'size_divisor': self._divisor,
            'pad_value': self._pad_value,
            'swaps_channels': self._normalisation.swaps_channels,
            'mean': self._normalisation.mean.tolist(),
            'std': self._normalisation.std.tolist(),
        }

    def unpadded(self, inputs: Tensor) -> tuple[int, int]:
        """Height and width of the student's inputs at the teacher's scale."""
        height, width = inputs.shape[-2:]
        return round(height * self.scale), round(width * self.scale)

    def __call__(self, inputs: Tensor, data_samples: Sequence[Any] | None) -> Tensor:
        """Inputs for the teacher.

        Args:
            inputs: (N, C, H, W), of the student, for their size and device.
            data_samples: of the batch.

        Returns: (N, C', H', W'), float32.
        Raises: ConfigError for samples without such an image, and for one of another
            size than the student's at this scale.
        """
        samples = data_samples or ()
        images = images_of(samples, self.field)
        if len(images) != len(inputs):
            raise ConfigError(
                f'{len(inputs)} images of the student came with {len(images)} data '
                f'samples, and each sample holds one image of the teacher. {_MAKER}'
            )
        size = padded_size(self.unpadded(inputs), self._divisor)
        batch = torch.full(
            (len(images), images[0].shape[0], *size),
            self._pad_value,
            device=inputs.device,
        )
        for row, image, sample in zip(batch, images, samples, strict=True):
            self._check_size(image, sample, inputs)
            normalised = self._normalise(image.to(inputs.device))
            normalised = normalised[:, : size[0], : size[1]]
            row[:, : normalised.shape[1], : normalised.shape[2]] = normalised
        return batch

    def _check_size(self, image: Tensor, sample: Any, inputs: Tensor) -> None:
        whole = tuple(inputs.shape[-2:])
        student = [int(side) for side in sample.metainfo.get('img_shape', whole)[:2]]
        teacher = list(image.shape[-2:])
        expected = [round(side * self.scale) for side in student]
        # Of odd sides, resizing rounds: by a pixel of the student's.
        allowed = max(self.scale, 1.0)
        if any(
            abs(one - other) > allowed
            for one, other in zip(teacher, expected, strict=True)
        ):
            ratio = teacher[0] / student[0]
            raise ConfigError(
                f"the sample's '{self.field}' is {_sides(teacher)} pixels, expected "
                f"{_sides(expected)}: {self.scale:g} times the student's "
                f'{_sides(student)}. Set input_scale={ratio:g} if the pipeline makes '
                'them so, or let both share flips, crops and resizing: transforms '
                'before kd_plugins.PackPairedInputs.'
            )

    def _normalise(self, image: Tensor) -> Tensor:
        channels = len(image)
        known = self._normalisation.channels
        if known not in (1, channels):
            raise ConfigError(
                f"the sample's '{self.field}' has {channels} channels, and the mean of "
                f"the teacher's data_preprocessor is of {known}."
            )
        values = image.float()
        if self._normalisation.swaps_channels and channels == 3:
            values = values.flip(0)
        if image.device not in self._constants:
            self._constants[image.device] = (
                self._normalisation.mean.to(values).view(-1, 1, 1),
                self._normalisation.std.to(values).view(-1, 1, 1),
            )
        mean, std = self._constants[image.device]
        return (values - mean) / std


def images_of(samples: Sequence[Any], field: str) -> list[Tensor]:
    """Images (C, H, W) that data samples hold under a name.

    Raises: ConfigError for a sample that holds none.
    """
    for sample in samples:
        if not isinstance(sample.get(field), Tensor):
            raise ConfigError(
                f"a data sample holds no image '{field}' for the teacher, which is a "
                f'Privileged one. {_MAKER}'
            )
    return [sample.get(field) for sample in samples]


def _sides(size: Sequence[int]) -> str:
    return 'x'.join(map(str, size))
