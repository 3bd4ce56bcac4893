"""Teachers of several kinds, of a few thousand weights each."""

from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DATASETS
from torch import Tensor

from kd_plugins.registry import MODELS

from .runs import TinyImages
from .tiny import faster_rcnn, raw_batch, teacher_of

IMAGE = 'teacher_image'


def ensemble(*models: Any, number: int = 2, **options: Any) -> dict[str, Any]:
    """Of these models, or of so many Faster R-CNNs; random, and alike."""
    members = models or [faster_rcnn() for _ in range(number)]
    return dict(
        type='kd_plugins.Ensemble', members=[teacher_of(m) for m in members], **options
    )


def vary(model: Any) -> Any:
    """Give each teacher of a distiller other random weights."""
    for number, teacher in enumerate(model.teachers.values()):
        generator = torch.Generator().manual_seed(number)
        for parameter in teacher.prepare(torch.device('cpu')).parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.1 * noise
    return model


def save_anchors(folder: Path, number: int, **changes: Any) -> list[str]:
    """Checkpoints of a Faster R-CNN, each with other weights."""
    paths = []
    model = MODELS.build(faster_rcnn(**changes))
    for index in range(number):
        generator = torch.Generator().manual_seed(index)
        state = {
            name: torch.randn(value.shape, generator=generator) * 0.1
            if value.is_floating_point() and 'running_var' not in name
            else value
            for name, value in model.state_dict().items()
        }
        path = folder / f'anchor_{index}.pth'
        torch.save({'state_dict': state}, path)
        paths.append(str(path))
    return paths


def route(paths: list[str], **options: Any) -> dict[str, Any]:
    """Of these checkpoints, one an iteration unless told otherwise."""
    options = dict(interval=1) | options
    return dict(
        type='kd_plugins.Route', model=faster_rcnn(), checkpoints=paths, **options
    )


def privileged(**options: Any) -> dict[str, Any]:
    """A random Faster R-CNN that sees the images of :class:`PairedImages`."""
    return dict(type='kd_plugins.Privileged', **teacher_of(faster_rcnn(), **options))


def with_teacher_images(batch: dict[str, Any], scale: float = 1.0) -> dict[str, Any]:
    """A batch of the loader, whose samples hold other images for the teacher."""
    for number, (image, sample) in enumerate(
        zip(batch['inputs'], batch['data_samples'], strict=True)
    ):
        sample.set_field(other_image(image, number, scale), IMAGE)
    return batch


def other_image(image: Tensor, number: int, scale: float = 1.0) -> Tensor:
    """Noise of the same size, or of another by a factor."""
    generator = torch.Generator().manual_seed(90 + number)
    size = [round(side * scale) for side in image.shape[-2:]]
    drawn = torch.randint(0, 256, (len(image), *size), generator=generator)
    return drawn.to(torch.uint8)


def paired_batch(model: Any, scale: float = 1.0, **options: Any) -> dict[str, Any]:
    """As :func:`~tests.distillers.tiny.batch`, with images for the teacher."""
    raw = with_teacher_images(raw_batch(**options), scale)
    prepared: dict[str, Any] = model.data_preprocessor(raw, True)
    return prepared


@DATASETS.register_module()
class PairedImages(TinyImages):
    """As :class:`TinyImages`, and draws as it does; each has a teacher's image."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        item['data_samples'].set_field(other_image(item['inputs'], index), IMAGE)
        return item
