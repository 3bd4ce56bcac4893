"""The data sets by name."""

from pathlib import Path

from ..checks import check_int
from ..errors import ConfigError, nearest
from ..extras import extra

DATASETS = ('digits', 'mosaics', 'planes')


def prepare(dataset: str, root: str | Path, **sizes: int) -> Path:
    """Make a data set in ``root`` unless it is there.

    Args:
        dataset: 'digits', 'mosaics' or 'planes'.
        root: its folder.
        sizes: numbers of images, ``train`` and ``val``; the benchmark's by default.

    Returns: ``root``.

    Raises: ConfigError for an unknown name, a root that is no path, or a size that is
        no whole number >= 1; or without the extra ``demo``.
    """
    if not isinstance(root, (str, Path)) or not str(root):
        raise ConfigError(f'root must be the path of a folder, got {root!r}.')
    for split, size in sizes.items():
        check_int(split, size)
    with extra('demo', f"the data set '{dataset}'"):
        if dataset == 'digits':
            from .digits import prepare_digits

            return prepare_digits(root, **sizes)
        if dataset == 'mosaics':
            from .mosaics import prepare_mosaics

            return prepare_mosaics(root, **sizes)
        if dataset == 'planes':
            from .planes import prepare_planes

            return prepare_planes(root, **sizes)
    raise ConfigError(
        f"dataset must be 'digits', 'mosaics' or 'planes', got {dataset!r}. "
        f'{nearest(str(dataset), DATASETS)}'
    )
