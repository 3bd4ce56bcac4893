"""The same validation images under several models, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from numpy.typing import NDArray
from PIL import Image

from ..distillers.student import student_config
from ..errors import ConfigError
from ..registry import MODELS
from ..teachers.checkpoints import load_strictly, load_weights
from .drawing import COLOURS, Mark, Objects, mark_predictions, mark_truth, paint
from .host import open_config
from .layout import arrange, save_png

_LEGEND = {
    'ground truth': COLOURS['ground truth'],
    'right (class and place, IoU 0.5)': COLOURS['right'],
    'wrong': COLOURS['wrong'],
    'missed': COLOURS['missed'],
}
_SIDE = 256  # pixels that the longer side of a panel should about have


@dataclass(frozen=True)
class Entry:
    """A column of the picture.

    Attributes:
        title: above it.
        config: of the model; of a distillation the student is shown.
        checkpoint: its weights.
    """

    title: str
    config: Path
    checkpoint: str


@dataclass(frozen=True)
class Sample:
    """A validation image.

    Attributes:
        image: (H, W, 3), RGB.
        truth: its objects.
        data: as the test pipeline gives it.
    """

    image: NDArray[np.uint8]
    truth: Objects
    data: dict[str, Any]


def make_picture(
    entries: Sequence[Entry],
    out: Path,
    *,
    number: int = 4,
    least_objects: int = 3,
    score: float = 0.5,
    options: Mapping[str, Any] | None = None,
    limit: int = 400_000,
) -> list[str]:
    """Write a picture: ground truth, then a column for each model.

    The images are not picked by hand: they are the first ``number`` of the validation
    set with at least ``least_objects`` objects.

    Args:
        entries: at least one; the first one's config tells the validation set.
        out: the PNG.
        number: of images, >= 1.
        least_objects: an image must have.
        score: below which a prediction is not shown.
        options: dotted keys to values, for the config of the first entry.
        limit: of the file's size, in bytes.

    Returns: paths of the images shown.
    Raises: ConfigError if there are not so many images.
    """
    configs = [
        open_config(entry.config, options if entry is entries[0] else None)
        for entry in entries
    ]
    samples, classes = choose_samples(configs[0], number, least_objects)
    columns: list[list[list[Mark]]] = [
        [mark_truth(sample.truth, classes) for sample in samples]
    ]
    for entry, cfg in zip(entries, configs, strict=True):
        model = build_model(cfg, entry.checkpoint, entry.title)
        columns.append(
            [
                mark_predictions(predict(model, sample, score), sample.truth, classes)
                for sample in samples
            ]
        )
    save_png(_compose(samples, columns, entries), out, limit)
    return [str(sample.data['data_samples'].img_path) for sample in samples]


def _compose(
    samples: Sequence[Sample],
    columns: Sequence[Sequence[Sequence[Mark]]],
    entries: Sequence[Entry],
) -> Image.Image:
    longest = max(side for sample in samples for side in sample.image.shape[:2])
    scale = max(1, _SIDE // longest)
    rows = [
        [paint(sample.image, marks[row], scale) for marks in columns]
        for row, sample in enumerate(samples)
    ]
    return arrange(rows, ['ground truth', *(entry.title for entry in entries)], _LEGEND)


def choose_samples(
    cfg: Config, number: int, least_objects: int
) -> tuple[list[Sample], list[str]]:
    """The first images of the test set with enough objects, and the class names.

    Raises: ConfigError if there are not so many.
    """
    from mmdet.registry import DATASETS

    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    samples: list[Sample] = []
    for index in range(len(dataset)):
        if len(dataset.get_data_info(index)['instances']) < least_objects:
            continue
        samples.append(_read(dataset[index]))
        if len(samples) == number:
            return samples, [str(name) for name in dataset.metainfo['classes']]
    raise ConfigError(
        f'--number {number}: the {len(dataset)} images of the test set hold only '
        f'{len(samples)} with at least {least_objects} objects.'
    )


def _read(data: dict[str, Any]) -> Sample:
    sample = data['data_samples']
    if 'bboxes' not in sample.get('gt_instances', {}):
        raise ConfigError(
            "test_dataloader.dataset.pipeline has no 'LoadAnnotations': there is no "
            'ground truth to show.'
        )
    truth = sample.gt_instances
    boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
    with Image.open(sample.img_path) as image:
        pixels = np.asarray(image.convert('RGB'))
    return Sample(
        pixels, Objects(boxes.numpy().astype(float), truth.labels.numpy()), data
    )


def build_model(cfg: Config, checkpoint: str, where: str) -> Any:
    """The model of a config (of a distillation, its student) with its weights."""
    model = MODELS.build(student_config(cfg).model)
    load_strictly(model, load_weights(checkpoint, key=where), where)
    model.to(get_device())
    return model.eval()


def predict(model: Any, sample: Sample, score: float) -> Objects:
    """What a model finds in an image, in that image's own pixels.

    Args:
        model: in ``eval()``.
        sample: the image.
        score: below which it does not count.
    """
    with torch.no_grad():
        found = model.test_step(pseudo_collate([sample.data]))[0].pred_instances
    found = found[found.scores >= score].cpu()
    return Objects(
        found.bboxes.numpy().astype(float),
        found.labels.numpy(),
        found.scores.numpy().astype(float),
    )
