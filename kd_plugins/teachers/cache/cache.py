"""What a teacher gave for each seeded view, on disk."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ...datasets.seeded_views import VIEW, SeededView
from ...errors import ConfigError, located
from ...fingerprint import fingerprint, installed_versions
from ...host_types import Samples
from .batch import CachedBatch
from .manifest import open_folder
from .options import CacheOptions
from .shelf import Shelf

_FORMAT = 1
# Of the student's preprocessor: what changes no image by itself.
_FIXED_AUGMENTS = ('BatchFixedSizePad',)


class Cached(Protocol):
    """What a cache knows of its teacher: name, configuration key, and identity."""

    name: str
    key: str

    def identity(self) -> Mapping[str, Any]:
        """What the tensors that it gives depend on: weights, config, preprocessing."""


class TeacherCache:
    """The records of one teacher.

    Args:
        options: where, and how much.
        teacher: whose; its weights are there before the first batch.
    """

    def __init__(self, options: CacheOptions, teacher: Cached) -> None:
        self.options = options
        self._teacher = teacher
        self._identity: Mapping[str, Any] | None = None
        self._shelves: dict[str, Shelf] = {}

    @property
    def shelves(self) -> Sequence[Shelf]:
        """Sub-folders that were used, one for each arithmetic."""
        return tuple(self._shelves.values())

    @contextmanager
    def batch(
        self, inputs: Tensor, samples: Samples, arithmetic: Mapping[str, Any]
    ) -> Iterator[CachedBatch]:
        """The records of a batch; what was computed within is stored at the end.

        Args:
            inputs: (N, C, H, W), as the teacher sees them.
            samples: data samples of the batch, marked by SeededViews.
            arithmetic: in which the teacher runs, see :func:`arithmetic_of`.

        Raises: ConfigError for a batch whose items are not marked, or that is of
            another size than the records; where all records would not fit.
        """
        height, width = inputs.shape[-2:]
        key = f'{self._teacher.key}.cache'
        with located(key):
            views = _views_of(samples)
            shelf = self._shelf(views[0], arithmetic)
            if shelf.input_size not in (None, (height, width)):
                assert shelf.input_size is not None
                raise _other_size(shelf.input_size, (height, width), views, samples)
        batch = CachedBatch(shelf, views, (height, width), inputs.device)
        yield batch
        with located(key):
            batch.commit()

    def _shelf(self, view: SeededView, arithmetic: Mapping[str, Any]) -> Shelf:
        key = fingerprint([view.data, view.images, view.views, arithmetic])
        if key not in self._shelves:
            if self._identity is None:
                self._identity = self._teacher.identity()
            options = self.options
            content = {
                'format': _FORMAT,
                'data': view.data,
                'images': view.images,
                'teacher': self._identity,
                'arithmetic': arithmetic,
                'precision': {'dtype': options.dtype, 'classes': options.classes},
                'versions': installed_versions('torch', 'torchvision'),
            }
            folder, others = open_folder(options.folder, content)
            if others:
                print_log(
                    f"Cache of teacher '{self._teacher.name}': {folder}. Other "
                    f'sub-folders of {options.folder} are not used: {others}. Delete '
                    'what no run needs.',
                    'current',
                )
            self._shelves[key] = Shelf(folder, options, view, self._teacher.name)
        return self._shelves[key]


def arithmetic_of(model: nn.Module) -> dict[str, Any]:
    """In which arithmetic a model runs now: kind of device, data type, autocast."""
    parameter = next(model.parameters())
    device = parameter.device.type
    autocast = torch.is_autocast_enabled(device)
    arithmetic = {
        'device': device,
        'dtype': str(parameter.dtype),
        'autocast': str(torch.get_autocast_dtype(device)) if autocast else None,
    }
    if device == 'cuda':
        arithmetic['tf32'] = str(
            (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        )
    return arithmetic


def check_batch_augments(preprocessor: nn.Module) -> None:
    """Refuse a student's preprocessor that draws: outside the seeded views.

    Raises: ConfigError naming what draws.
    """
    augments = getattr(preprocessor, 'batch_augments', None)
    if not isinstance(augments, nn.ModuleList):
        return
    drawing = [
        type(item).__name__
        for item in augments
        if type(item).__name__ not in _FIXED_AUGMENTS
    ]
    if drawing:
        raise ConfigError(
            f'{drawing[0]} in batch_augments of the student (model.student.'
            'data_preprocessor) draws anew for each batch, so that no view is the same '
            'twice. Remove it, or augment in the pipeline of SeededViews.'
        )


def _views_of(samples: Samples) -> list[SeededView]:
    views = [sample.metainfo[VIEW] for sample in samples if VIEW in sample.metainfo]
    if not views or len(views) < len(samples):
        raise ConfigError(
            'the items of the batch do not say which views they are. Set '
            "train_dataloader.dataset=dict(type='kd_plugins.SeededViews', "
            'dataset=dict(...), views=8, seed=0), around the data set that is there; '
            'of a pipeline that draws nothing views=1.'
        )
    return views


def _other_size(
    stored: tuple[int, int],
    size: tuple[int, int],
    views: Sequence[SeededView],
    samples: Samples,
) -> ConfigError:
    images = [tuple(sample.metainfo['img_shape'][:2]) for sample in samples]
    return ConfigError(
        f'{views[0].describe()} comes in a batch of {_sides(size)} pixels (its images: '
        f'{", ".join(map(_sides, images))}), and what is stored came in batches of '
        f'{_sides(stored)}. What a teacher makes of an image depends on how far its '
        'batch is padded, so all batches must be of one size. At the end of the '
        f"pipeline crop or pad to it: dict(type='Pad', size={stored}); or set "
        f'size={stored} in the data_preprocessor of a segmentor, batch_augments=['
        f"dict(type='BatchFixedSizePad', size={stored})] in that of a detector."
    )


def _sides(size: Sequence[int]) -> str:
    return ' x '.join(map(str, size))
