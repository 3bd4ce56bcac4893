"""The data sets by name."""

from pathlib import Path

from ..errors import ConfigError, nearest

DATASETS = ('digits', 'mosaics', 'planes')


def prepare(dataset: str, root: str | Path, **sizes: int) -> Path:
    """Make a data set in ``root`` unless it is there.

    Args:
        dataset: 'digits', 'mosaics' or 'planes'.
        root: its folder.
        sizes: numbers of images, ``train`` and ``val``; the benchmark's by default.

    Returns: ``root``.

    Raises: ConfigError for an unknown name or a size below 1.
    """
    # Imported here: the generators need scikit-image and scikit-learn.
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
        f"dataset must be 'digits', 'mosaics' or 'planes', got '{dataset}'. "
        f'{nearest(dataset, DATASETS)}'
    )
