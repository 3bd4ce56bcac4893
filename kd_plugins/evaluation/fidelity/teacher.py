"""A teacher's predictions of validation images, made once."""

import copy
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...host_types import HostModule
from ...random_stream import get_random_state, set_random_state
from ...teachers import Teacher


@dataclass
class _Kept:
    fingerprint: int
    value: Any


class TeacherPredictions:
    """Runs a teacher on a batch, and keeps the result for later validations.

    The key of a batch is its number and a checksum of its images. Under random
    augmentation the checksum changes, and the teacher runs again.

    Args:
        teacher: loaded at its first run.

    Attributes:
        runs: batches that the teacher was run on.
        repeated: of these, batches that were run before with other images.
    """

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.runs = 0
        self.repeated = 0
        self._kept: dict[int, _Kept] = {}

    def get(
        self, number: int, batch: Mapping[str, Any], read: Callable[[], Any]
    ) -> Any:
        """The result of a batch.

        Args:
            number: of the batch in the data set.
            batch: as the host's loader gives it.
            read: runs the teacher on the batch and returns the result.
        """
        fingerprint = _fingerprint(batch['inputs'])
        kept = self._kept.get(number)
        if kept is None or kept.fingerprint != fingerprint:
            self.runs += 1
            self.repeated += kept is not None
            kept = self._kept[number] = _Kept(fingerprint, read())
        return kept.value

    def predict(self, batch: Mapping[str, Any], device: torch.device) -> Any:
        """Data samples with the teacher's predictions of a batch.

        With the teacher's preprocessing and the host's ``predict``, in the data type of
        the weights. The batch and all random states stay the same.

        Args:
            batch: as the host's loader gives it.
            device: of the student.
        """
        state = get_random_state()
        try:
            model: HostModule = self.teacher.prepare(device)
            data = copy.deepcopy(dict(batch))
            images = self.teacher.images(data)
            if images is not None:
                _replace(data, images, self.teacher.scale)
            data = model.data_preprocessor(data, False)
            dtype = next(model.parameters()).dtype
            data['inputs'] = data['inputs'].to(dtype)
            with torch.no_grad():
                return model(**data, mode='predict')
        finally:
            set_random_state(state)


def _fingerprint(inputs: Any) -> int:
    value = 0
    for image in inputs:
        value = zlib.crc32(image.cpu().contiguous().numpy().tobytes(), value)
        value = zlib.crc32(repr(tuple(image.shape)).encode(), value)
    return value


def _replace(data: dict[str, Any], images: list[Tensor], scale: float) -> None:
    """Show a teacher its own images, of another size, as in the training."""
    data['inputs'] = images
    for image, sample in zip(images, data['data_samples'], strict=True):
        meta = sample.metainfo
        changed: dict[str, Any] = {'img_shape': tuple(image.shape[-2:])}
        if 'pad_shape' in meta:
            changed['pad_shape'] = tuple(image.shape[-2:])
        if 'scale_factor' in meta:  # a detector scales its boxes back by it
            changed['scale_factor'] = tuple(
                float(factor) * scale for factor in meta['scale_factor']
            )
        sample.set_metainfo(changed)
