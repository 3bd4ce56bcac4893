"""Views of a data set: augmentations that are a function of a seed and a number."""

import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from torch import Tensor

from ..checks import check_int
from ..errors import ConfigError
from ..fingerprint import fingerprint, installed_versions
from ..host_types import HostDataset
from ..random_stream import seeded
from ..registry import DATASETS
from .own_generators import own_generators, pipelines, reseeded, with_history

VIEW = 'seeded_view'  # key in the metainfo of a data sample
# What reads and augments images, beside the hosts.
_PIXELS = (
    *('numpy', 'opencv-python', 'opencv-python-headless', 'pillow', 'torch'),
    *('albumentations', 'imgaug', 'imagecorruptions'),
)


class SeededView(NamedTuple):
    """What a data sample's metainfo says of the view that it is.

    Attributes:
        item: number of the item, ``view * images + image``.
        images: how many the data has.
        views: how many of each image.
        data: fingerprint of the data's configuration, the seed, and the versions of
            what reads and augments images.
        checksum: CRC-32 of the augmented image, as the pipeline gives it.
    """

    item: int
    images: int
    views: int
    data: str
    checksum: int

    def describe(self) -> str:
        """Number, image and view, for messages.

        Example:
            >>> SeededView(13, 10, 4, '', 0).describe()
            'item 13 (image 3, view 1)'
        """
        view, image = divmod(self.item, self.images)
        return f'item {self.item} (image {image}, view {view})'


@DATASETS.register_module()
class SeededViews:
    """A data set whose augmentations are the same in every pass.

    Its length is ``views`` times that of the data. Item ``view * N + image`` is image
    ``image`` of N, and all that its pipeline draws (from python's, numpy's and torch's
    generators, and from those that transforms hold) is a function of seed, image and
    view: partners of mosaic and mixup, and the image that replaces one whose pipeline
    gives none, too. So it is the same in every pass, worker and process, and after a
    resume. The generators' states outside do not change.

    The metainfo of each data sample gains ``seeded_view``, a :class:`SeededView`.

    Args:
        dataset: configuration of any data set of the host's, wrappers included.
        views: how many of each image, >= 1.
        seed: of all of them, >= 0.

    Raises: ConfigError for a transform whose result depends on the images before, such
        as CachedMosaic; for a pipeline that gives no data sample with an image.
    """

    def __init__(self, dataset: Mapping[str, Any], views: int, seed: int = 0) -> None:
        if not isinstance(dataset, Mapping) or 'type' not in dataset:
            raise ConfigError(
                f"must be the configuration of a data set, a dict with 'type', got "
                f'{dataset!r}.',
                key='SeededViews.dataset',
            )
        for key, value, least in (('views', views, 1), ('seed', seed, 0)):
            name = f'SeededViews.{key}'
            if check_int(name, value, least) is None:
                raise ConfigError(f'{name} must be a whole number >= {least}.')
        self.views = views
        self.seed = seed
        self.dataset: HostDataset = DATASETS.build(dataset)
        transforms = list(pipelines(self.dataset))
        if names := with_history(transforms):
            raise ConfigError(
                f'{names[0]} mixes with images that it has seen before, so that no '
                'view would be the same twice. Use its form that draws its partners '
                'from the data set, such as Mosaic or MixUp in a MultiImageMixDataset.',
                key='SeededViews.dataset',
            )
        self._generators = own_generators(transforms)
        self._data = fingerprint(
            {'dataset': dataset, 'seed': seed, **installed_versions(*_PIXELS)}
        )

    @property
    def metainfo(self) -> Any:
        """That of the data."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Load the annotations, where that was put off."""
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()

    def __len__(self) -> int:
        return self.views * len(self.dataset)

    def get_data_info(self, index: int) -> Any:
        """Annotation of an item: that of its image."""
        return self.dataset.get_data_info(self._image(index))

    def get_cat_ids(self, index: int) -> Any:
        """Categories of an item: those of its image."""
        return _categories(self.dataset, self._image(index))

    def __getitem__(self, index: int) -> Any:
        """The item, as the data's pipeline gives it, marked with its view."""
        index, images = range(len(self))[index], len(self.dataset)
        view, image = divmod(index, images)
        with ExitStack() as stack:
            stack.enter_context(seeded(self.seed, image, view))
            if self._generators:
                numbers = (self.seed, image, view)
                stack.enter_context(reseeded(self._generators, *numbers))
            item = self.dataset[image]
        if item is not None:
            _mark(item, index, images, self.views, self._data)
        return item

    def _image(self, index: int) -> int:
        return range(len(self))[index] % len(self.dataset)

    # What the hosts' hooks change in a data set while it is trained on.

    @property
    def pipeline(self) -> Any:
        """That of the data."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        raise _unchangeable('PipelineSwitchHook')

    def update_skip_type_keys(self, skip_type_keys: Any) -> None:
        """Refused: views are the same for the whole run.

        Raises: ConfigError.
        """
        raise _unchangeable('YOLOXModeSwitchHook')


def _unchangeable(hook: str) -> ConfigError:
    return ConfigError(
        f'SeededViews gives the same views in the whole run, and {hook} would change '
        'their pipeline. Remove the hook from custom_hooks.'
    )


def _mark(item: Any, index: int, images: int, views: int, data: str) -> None:
    inputs: Any = item.get('inputs') if isinstance(item, dict) else None
    sample: Any = item.get('data_samples') if isinstance(item, dict) else None
    if not isinstance(inputs, Tensor) or not hasattr(sample, 'set_metainfo'):
        got = sorted(item) if isinstance(item, dict) else type(item).__name__
        raise ConfigError(
            "the pipeline must give a tensor 'inputs' and one 'data_samples', as "
            f'PackDetInputs and PackSegInputs do at its end, got {got}.',
            key='SeededViews.dataset',
        )
    checksum = zlib.crc32(inputs.contiguous().numpy().data)
    mark = SeededView(index, images, views, data, checksum)
    sample.set_metainfo({VIEW: mark})


def _categories(dataset: HostDataset, image: int) -> Any:
    """Categories of an image, where wrappers of the hosts do not pass them on."""
    if hasattr(dataset, 'get_cat_ids'):
        return dataset.get_cat_ids(image)
    if hasattr(dataset, 'datasets'):
        number = image
        for part in dataset.datasets:
            if number < len(part):
                return _categories(part, number)
            number -= len(part)
    inner = dataset.dataset
    return _categories(inner, image % len(inner))
