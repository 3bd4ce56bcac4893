"""Let teachers label the images of a folder, and write what a data set reads."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.dist import barrier, get_rank, get_world_size
from mmengine.utils import ProgressBar
from torch.utils.data import DataLoader, Dataset

from ...checks import check_int
from ...errors import ConfigError, located
from ...random_stream import random_state_kept
from .folder import LabelFolder
from .images import list_images
from .labeller import Labeller
from .options import PseudoLabelOptions, read_teachers
from .writers import BoxWriter, MapWriter, Writer


@dataclass(frozen=True)
class PseudoLabels:
    """What came of a folder of images.

    Attributes:
        folder: that holds them.
        images: how many have labels: a box, or a pixel that is not ignored.
        result: as it stands in the folder's record.
        before: whether all were there already.
    """

    folder: Path
    images: int
    result: Mapping[str, Any]
    before: bool

    def describe(self) -> str:
        """One sentence, with what a config names."""
        came = ', '.join(f'{key} {value}' for key, value in self.result.items())
        there = 'were there' if self.before else 'are'
        return f'The pseudo-labels {there} in {self.folder}: {came}.'


def make_pseudo_labels(
    images: str | Path,
    out: str | Path,
    teachers: object,
    *,
    without: str | Path | None = None,
    options: PseudoLabelOptions | None = None,
    num_workers: int = 0,
    progress: bool = True,
) -> PseudoLabels:
    """Label the images of a folder by one or several teachers.

    Detectors write ``boxes.json``, annotations as COCO has them with a ``score`` each.
    Segmentors write ``labels/<image>.png``, 255 where they are not sure, or with
    ``top_k`` ``soft/<image>.npz``; and ``images.txt``, the names of the images. What
    made them stands in ``pseudo_labels.json``.

    Each batch is written at once, whole or not at all: a run that is interrupted, or
    killed, goes on where it stood, and ends with the same files. Labels that are there
    are not made again. The processes of a launcher share the work. No random state
    changes.

    Args:
        images: the folder; also of folders in it.
        out: where the labels go.
        teachers: ``dict(cfg=..., checkpoint=...)``, or a list of such.
        without: file that names images to leave out, see
            :func:`~kd_plugins.engine.pseudo_labels.images.list_images`.
        options: how they are made.
        num_workers: processes that read images.
        progress: whether the first process shows a bar.

    Raises: ConfigError for what cannot be, CheckpointError for a teacher's weights.
    """
    options = options or PseudoLabelOptions()
    check_int('num_workers', num_workers, minimum=0)
    entries = read_teachers(teachers)
    names = list_images(images, without)
    with random_state_kept():
        labellers = _built(entries, options)
        writer = _writer(labellers, options)
        folder = LabelFolder(out)
        batches = _batches(len(names), options.batch_size)
        made_by = {
            **options.as_dict(),
            'teachers': [each.identity for each in labellers],
            'classes': list(labellers[0].classes),
            'images': _identity(Path(images), names),
        }
        barrier()
        if get_rank() == 0:
            folder.open(made_by)
        barrier()
        result = folder.result
        if result is not None:
            return PseudoLabels(folder.path, result['images'], result, before=True)

        def loader_of(chosen: list[list[int]]) -> DataLoader[Any]:
            pipelines = [labeller.transforms for labeller in labellers]
            return DataLoader(
                _Images(Path(images), names, pipelines),
                batch_sampler=chosen,
                num_workers=num_workers,
                collate_fn=_collate,
            )

        _label(writer, folder, loader_of, batches, names, progress)
        barrier()
        if get_rank() == 0:
            parts = folder.parts(len(batches))
            folder.finish(writer.assemble(folder.path, names, parts))
        barrier()
    result = folder.result
    assert result is not None
    return PseudoLabels(folder.path, result['images'], result, before=False)


class _Images(Dataset[list[Any]]):
    """Images by number, as the pipeline of each labeller prepares them."""

    def __init__(
        self, root: Path, names: Sequence[str], pipelines: Sequence[Sequence[Any]]
    ) -> None:
        self._root, self._names, self._pipelines = root, names, pipelines

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> list[Any]:
        path = str(self._root / self._names[index])
        try:
            return [_run(steps, path, index) for steps in self._pipelines]
        except Exception as error:  # whatever a transform makes of a broken file
            raise ConfigError(
                f"'{path}' cannot be read as an image ({error!r}). Repair or remove "
                'it, and start again: what is labelled stays.',
                'images',
            ) from error


def _run(steps: Sequence[Any], path: str, index: int) -> Any:
    results: Any = {'img_path': path, 'img_id': index}
    for step in steps:
        results = step(results)
    return results


def _collate(items: Sequence[Sequence[Any]]) -> list[Any]:
    return [pseudo_collate(list(each)) for each in zip(*items, strict=True)]


def _built(
    entries: Sequence[tuple[str, str]], options: PseudoLabelOptions
) -> list[Labeller]:
    """All teachers, of one task and with the same classes."""
    labellers = []
    for number, (cfg, checkpoint) in enumerate(entries):
        with located(f'teachers[{number}]'):
            labellers.append(Labeller(cfg, checkpoint, options.augment))
            first, last = labellers[0], labellers[-1]
            if (first.host, first.classes) != (last.host, last.classes):
                raise ConfigError(
                    'labels other things than the first: '
                    f'{last.host} {list(last.classes)}, and {first.host} '
                    f'{list(first.classes)}.'
                )
    return labellers


def _writer(labellers: Sequence[Labeller], options: PseudoLabelOptions) -> Writer:
    if labellers[0].host == 'mmseg':
        return MapWriter(labellers, options)
    if options.top_k is not None:
        raise ConfigError('top_k is of segmentors: remove it, or name a segmentor.')
    return BoxWriter(labellers, options)


def _batches(images: int, size: int) -> list[list[int]]:
    """Numbers of the images of each batch, the same in every run: so are the bits."""
    return [
        list(range(start, min(start + size, images)))
        for start in range(0, images, size)
    ]


def _identity(root: Path, names: Sequence[str]) -> str:
    """Of the images: their names and sizes."""
    digest = sha256()
    for name in names:
        digest.update(f'{name} {(root / name).stat().st_size}\n'.encode())
    return digest.hexdigest()[:16]


def _label(
    writer: Writer,
    folder: LabelFolder,
    loader_of: Callable[[list[list[int]]], DataLoader[Any]],
    batches: Sequence[list[int]],
    names: Sequence[str],
    progress: bool,
) -> None:
    """Label what is missing, this process its share."""
    missing = folder.missing(len(batches))
    share = missing[get_rank() :: get_world_size()]
    device = get_device()
    for labeller in writer.labellers:
        labeller.to(device)
    shown = progress and get_rank() == 0 and share
    bar = ProgressBar(len(share), file=sys.stdout) if shown else None
    loader = loader_of([batches[number] for number in share])
    for number, data in zip(share, loader, strict=True):
        images = [names[image] for image in batches[number]]
        folder.add(number, writer.write(folder.path, images, data))
        if bar is not None:
            bar.update()
    if bar is not None:
        print()
