"""The end of a pipeline that gives the teacher another view of the same sample."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ConfigError, located
from ..random_stream import random_state_kept
from ..registry import TRANSFORMS

_LABELS = 2.0**16  # of a label map; a place is counted in multiples of it
_MAP = 'gt_seg_map'  # which the geometric transforms of both hosts move with the image


@TRANSFORMS.register_module()
class PackPairedInputs:
    """Pack a sample whose teacher sees another image than the student.

    What stands before it in the pipeline both share: loading, flips, crops. From here
    the image goes two ways: through ``student``, together with the annotations, and
    through ``teacher``. Either may change values (noise, blur, more channels) and size,
    by one factor for both sides; whatever else moves pixels would compare other places,
    and is refused: each sample's places are followed along both ways.

    The student is packed as its host does it, and its data sample gains the teacher's
    image, uint8 or float (C, H, W), which a teacher of ``type='Privileged'`` reads.

    Args:
        pack: the host's own last step, ``dict(type='PackSegInputs')`` or
            ``dict(type='PackDetInputs')``.
        student: transforms of the student's image alone.
        teacher: transforms of the teacher's image alone. What they draw shifts nothing
            that the student's pipeline draws.
        name: under which the data sample holds the teacher's image; the ``input`` of
            the teacher.

    Raises: ConfigError for a configuration of something else.

    Example: the student sees half of the pixels::

        train_pipeline = [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomFlip', prob=0.5),
            dict(
                type='kd_plugins.PackPairedInputs',
                student=[dict(type='Resize', scale_factor=0.5)],
                pack=dict(type='PackSegInputs'),
            ),
        ]
    """

    def __init__(
        self,
        pack: Mapping[str, Any],
        student: Sequence[Mapping[str, Any]] = (),
        teacher: Sequence[Mapping[str, Any]] = (),
        name: str = 'teacher_image',
    ) -> None:
        with located('PackPairedInputs'):
            self.pack = _built('pack', [pack])[0]
            self.student = _built('student', student)
            self.teacher = _built('teacher', teacher)
            if not isinstance(name, str) or not name.isidentifier():
                raise ConfigError(f'must be a name, got {name!r}.', key='name')
        self.name = name

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """A packed sample; None where a transform gives none."""
        other = copy.deepcopy(results)
        student = _run(self.student, results, 'student')
        with random_state_kept() if self.teacher else nullcontext():
            teacher = _run(self.teacher, other, 'teacher')
        if student is None or teacher is None:
            return None
        packed: dict[str, Any] = self.pack(student)
        packed['data_samples'].set_field(_as_tensor(teacher['img']), self.name)
        return packed

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(pack={self.pack}, student={self.student}, '
            f'teacher={self.teacher}, name={self.name!r})'
        )


def _built(key: str, transforms: object) -> list[Any]:
    if not isinstance(transforms, (list, tuple)) or not all(
        isinstance(item, Mapping) and 'type' in item for item in transforms
    ):
        raise ConfigError(
            f"must be transforms, dicts with 'type', got {transforms!r}.", key=key
        )
    return [TRANSFORMS.build(dict(item)) for item in transforms]


def _run(
    transforms: Sequence[Any], results: dict[str, Any], way: str
) -> dict[str, Any] | None:
    """One way of the image, its places followed.

    Raises: ConfigError for a way that moves pixels but by one factor.
    """
    if not transforms:
        return results
    height, width = results['img'].shape[:2]
    labels = results.get(_MAP)
    results[_MAP] = _LABELS * np.arange(height * width).reshape(height, width)
    if labels is not None:
        results[_MAP] += labels
    fields = results.get('seg_fields')
    results['seg_fields'] = list({*(fields or ()), _MAP})  # mmseg moves what is listed
    moved: dict[str, Any] | None = results
    for transform in transforms:
        moved = transform(moved)
        if moved is None:
            return None
    assert moved is not None
    places = moved.pop(_MAP)
    _check_places(places, moved['img'], (height, width), way)
    if labels is not None:
        moved[_MAP] = (places % _LABELS).astype(labels.dtype)
    del moved['seg_fields']
    if fields is not None:
        moved['seg_fields'] = fields
    return moved


def _check_places(
    places: NDArray[np.float64],
    image: NDArray[Any],
    size: tuple[int, int],
    way: str,
) -> None:
    if places.shape == image.shape[:2]:
        rows, columns = np.divmod(places // _LABELS, size[1])
        moved = max(
            _farthest(rows, size[0], axis=0), _farthest(columns, size[1], axis=1)
        )
        ratios = [new / old for new, old in zip(places.shape, size, strict=True)]
        # The sides are whole pixels: of one factor they may differ by one.
        same = abs(ratios[0] - ratios[1]) * min(size) <= 1.5
        if moved <= 1 and same:
            return
    names = 'PackPairedInputs.' + way
    raise ConfigError(
        f'its transforms move pixels: of an image of {size[0]}x{size[1]} they make '
        f'{image.shape[0]}x{image.shape[1]}, and not by one factor for both sides '
        'alone. Student and teacher would be compared at different places. Put flips, '
        'crops, rotations and padding before PackPairedInputs, where both share them.',
        key=names,
    )


def _farthest(places: NDArray[np.float64], side: int, axis: int) -> float:
    """How far a row or column is from where resizing would have taken it.

    As a share of what the rounding of resizing allows.
    """
    number = places.shape[axis]
    step = side / number
    expected = (np.arange(number) + 0.5) * step - 0.5
    shape = (-1, 1) if axis == 0 else (1, -1)
    distance = np.abs(places - expected.reshape(shape)).max(initial=0.0)
    return float(distance / (step / 2 + 1))


def _as_tensor(image: NDArray[Any]) -> torch.Tensor:
    if image.ndim == 2:
        image = image[..., None]
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
