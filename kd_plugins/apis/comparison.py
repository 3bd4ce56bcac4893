"""The same validation images under several models, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS

from ..distillers.student import student_config
from ..engine.opening import open_config
from ..errors import ConfigError
from ..host_types import HostModule
from ..registry import MODELS
from ..teachers.checkpoints import load_strictly, load_weights
from ..visualization.detection import DetectionTask
from ..visualization.layout import arrange, save_png
from ..visualization.panels import Sample, Task
from ..visualization.segmentation import SegmentationTask


@dataclass(frozen=True)
class Entry:
    """A column of the picture.

    Attributes:
        title: of the column.
        config: of the model; of a distillation, the student is shown.
        checkpoint: its weights.
    """

    title: str
    config: Path
    checkpoint: str


def make_picture(
    entries: Sequence[Entry],
    out: Path | None = None,
    *,
    number: int = 4,
    least_objects: int = 3,
    score: float = 0.5,
    options: Mapping[str, Any] | None = None,
    limit: int = 400_000,
) -> tuple[Path, list[str]]:
    """Write a picture: the ground truth, then a column for each model.

    Detectors show boxes, segmentors label maps. The images are the first ``number`` of
    the validation set with at least ``least_objects`` objects, or classes.

    Args:
        entries: at least one; the first config sets the task and the validation set.
        out: the PNG; None: docs/<task>.png.
        number: of images, >= 1.
        least_objects: the fewest objects of an image; for segmentation, classes.
        score: the lowest score of a detection that is shown.
        options: dotted keys to values, for the config of the first entry.
        limit: of the file's size, in bytes.

    Returns: the PNG, and paths of the images shown.
    Raises: ConfigError for too few images.
    """
    configs = [
        open_config(entry.config, options if entry is entries[0] else None)
        for entry in entries
    ]
    dataset = DATASETS.build(configs[0].test_dataloader.dataset)
    task = task_of(configs[0], dataset, score)
    samples = choose_samples(dataset, task, number, least_objects)
    columns = dict(task.truth(samples))
    for entry, cfg in zip(entries, configs, strict=True):
        model = build_model(cfg, entry.checkpoint, entry.title)
        results = [predict(model, sample) for sample in samples]
        columns[entry.title] = task.predicted(samples, results)
    rows = list(zip(*columns.values(), strict=True))
    out = out or Path('docs', f'{task.name}.png')
    save_png(arrange(rows, list(columns), task.legend()), out, limit)
    return out, [str(sample.data['data_samples'].img_path) for sample in samples]


def task_of(cfg: Config, dataset: BaseDataset, score: float) -> Task:
    """The task of a config, which draws its predictions.

    Args:
        cfg: of a model or of a distillation.
        dataset: its test set.
        score: the lowest score of a detection that is shown.
    """
    if 'decode_head' in student_config(cfg).model:
        return SegmentationTask(dataset)
    return DetectionTask(dataset, score)


def choose_samples(
    dataset: BaseDataset, task: Task, number: int, least_objects: int
) -> list[Sample]:
    """The first images of the test set with enough objects.

    Raises: ConfigError for too few.
    """
    samples: list[Sample] = []
    for index in range(len(dataset)):
        sample = task.read(dataset[index])
        if sample.number >= least_objects:
            samples.append(sample)
        if len(samples) == number:
            return samples
    raise ConfigError(
        f'--number {number}: the {len(dataset)} images of the test set hold only '
        f'{len(samples)} with at least {least_objects} {task.counted}.'
    )


def build_model(cfg: Config, checkpoint: str, key: str) -> Any:
    """The model of a config (of a distillation, its student) with its weights."""
    model = MODELS.build(student_config(cfg).model)
    load_strictly(model, load_weights(checkpoint, key=key), key)
    model.to(get_device())
    return model.eval()


def predict(model: HostModule, sample: Sample) -> Any:
    """Prediction of a model for an image, in pixels of the original image.

    Args:
        model: in ``eval()``.
        sample: the image.

    Returns: data sample of the host.
    """
    with torch.no_grad():
        return model.test_step(pseudo_collate([sample.data]))[0]
