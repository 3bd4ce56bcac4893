"""Some images of the validation, or of the training without its augmentation."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, EVALUATOR
from torch.utils.data import DataLoader, Dataset

from ...config_files import type_name
from .finding import NotCheckedError


@dataclass(frozen=True)
class Images:
    """Images of a data set, and how a model is scored on them.

    Attributes:
        number: how many.
        total: how many the data set has.
        loader: their batches, in order.
        make_evaluator: gives a new evaluator.
        classes: names, where the data set has some.
    """

    number: int
    total: int
    loader: DataLoader[Any]
    make_evaluator: Callable[[], Evaluator]
    classes: tuple[str, ...] | None


def validation_images(cfg: Config, number: int, folder: Path) -> Images:
    """Images of the validation set, evenly spread over it.

    Args:
        cfg: with ``val_dataloader`` and ``val_evaluator``.
        number: at most.
        folder: for what an evaluator writes.

    Raises: NotCheckedError for a config without validation.
    """
    _check_validates(cfg)
    dataset = DATASETS.build(copy.deepcopy(cfg.val_dataloader.dataset))
    evaluator = _changed(cfg.val_evaluator, folder)
    return _images(cfg, dataset, evaluator, number)


def training_images(cfg: Config, number: int, folder: Path) -> Images:
    """Likewise of the training set, read as the validation reads its images.

    What surrounds the data set, such as a mosaic's partners, is left out.

    Raises: NotCheckedError for a config without validation, or whose score cannot be
        had of training images.
    """
    _check_validates(cfg)
    pipeline = _innermost(cfg.val_dataloader.dataset).get('pipeline')
    dataset = DATASETS.build(_plain(cfg.train_dataloader.dataset, pipeline))
    file = getattr(dataset, 'ann_file', None)
    evaluator = _changed(cfg.val_evaluator, folder, annotations=file or '')
    return _images(cfg, dataset, evaluator, number)


class _Spread(Dataset[Any]):
    """Evenly spread items of a data set."""

    def __init__(self, dataset: Any, number: int) -> None:
        self.dataset = dataset
        self.metainfo = getattr(dataset, 'metainfo', None) or {}
        total = len(dataset)
        number = min(number, total)
        self.indices = [total * index // number for index in range(number)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


def _images(cfg: Config, dataset: Any, evaluator: Any, number: int) -> Images:
    if not len(dataset):
        raise NotCheckedError('the data set has no images')
    chosen = _Spread(dataset, number)
    loader = DataLoader(
        chosen,
        batch_size=cfg.val_dataloader.get('batch_size', 1),
        collate_fn=pseudo_collate,
    )
    classes = chosen.metainfo.get('classes')

    def make_evaluator() -> Evaluator:
        made = _build(copy.deepcopy(evaluator))
        made.dataset_meta = chosen.metainfo
        return made

    return Images(
        len(chosen),
        len(dataset),
        loader,
        make_evaluator,
        None if classes is None else tuple(str(name) for name in classes),
    )


def _check_validates(cfg: Config) -> None:
    for key in ('val_dataloader', 'val_evaluator'):
        if not cfg.get(key):
            raise NotCheckedError(f"the config has no '{key}'")


def _build(evaluator: Any) -> Evaluator:
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        evaluator.setdefault('type', 'Evaluator')
        built: Evaluator = EVALUATOR.build(evaluator)
        return built
    return Evaluator(evaluator)


def _innermost(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def _plain(dataset: Mapping[str, Any], pipeline: Any) -> ConfigDict:
    """A data set without what repeats, balances or mixes its images."""
    content = ConfigDict(copy.deepcopy(dict(_innermost(dataset))))
    if 'datasets' in content:
        content.datasets = [_plain(item, pipeline) for item in content.datasets]
        return content
    if pipeline is not None:
        content.pipeline = copy.deepcopy(pipeline)
    return content


def _changed(evaluator: Any, folder: Path, annotations: str | None = None) -> Any:
    """The evaluator, with other annotations, writing nowhere but into the folder.

    Args:
        evaluator: its configuration.
        folder: for what it writes.
        annotations: the file of the data set; '' if it has none; None: its own.
    """
    if isinstance(evaluator, Sequence) and not isinstance(evaluator, str):
        return [_changed(item, folder, annotations) for item in evaluator]
    changed = ConfigDict(copy.deepcopy(dict(evaluator)))
    if 'metrics' in changed:
        changed.metrics = _changed(changed.metrics, folder, annotations)
    if changed.get('outfile_prefix'):
        changed.outfile_prefix = str(folder / 'results')
    if changed.get('output_dir'):
        changed.output_dir = str(folder / 'results')
    if changed.get('ann_file') and annotations is not None:
        if not annotations:
            raise NotCheckedError(
                'the training set has no single annotation file for the '
                f'{type_name(changed.get("type"))} of val_evaluator'
            )
        changed.ann_file = annotations
    return changed
