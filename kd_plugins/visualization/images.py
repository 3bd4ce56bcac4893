"""Images to show: the first of a data set, or files, by its test pipeline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset, Compose

from ..errors import ConfigError

_ANNOTATIONS = 'Annotations'  # in the names of transforms that read annotations


def first_images(dataset: BaseDataset, number: int) -> list[dict[str, Any]]:
    """The first images of a data set.

    Args:
        dataset: the host's.
        number: >= 1.

    Raises: ConfigError for too few images.
    """
    if len(dataset) < number:
        raise ConfigError(
            f'{number} images are asked for, the data set has {len(dataset)}.'
        )
    return [dataset[index] for index in range(number)]


def image_files(dataset: BaseDataset, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Image files, prepared by the pipeline of a data set, without annotations.

    Args:
        dataset: the host's, whose pipeline loads files.
        paths: of the images.

    Raises: ConfigError for missing files, and for a data set without a pipeline.
    """
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise ConfigError(
            f'--images: there is no file {missing[0]!r}. Give paths of images, or the '
            'number of images of the test set.'
        )
    while not hasattr(dataset, 'pipeline'):
        inner = (
            getattr(dataset, 'dataset', None) or getattr(dataset, 'datasets', [None])[0]
        )
        if inner is None:
            raise ConfigError(
                f'--images: {type(dataset).__name__} has no pipeline to load a file '
                'with. Give a number: images of the test set.'
            )
        dataset = inner
    transforms = [
        transform
        for transform in dataset.pipeline.transforms
        if _ANNOTATIONS not in type(transform).__name__
    ]
    pipeline = Compose(transforms)
    items = []
    for number, path in enumerate(paths):
        item = pipeline({'img_path': path, 'img_id': number, 'seg_fields': []})
        if item is None or 'inputs' not in item:
            raise ConfigError(
                f'--images: the test pipeline makes no input of {path!r}, expected an '
                "image with 'inputs' and 'data_samples'."
            )
        items.append(item)
    return items
