"""Data that are not there, told by the key that says where they should be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError


@contextmanager
def missing_data_named(key: str) -> Iterator[None]:
    """Name the key of a data set that is built within the block, and finds no file.

    Args:
        key: of the config, such as 'train_dataloader'.

    Raises: ConfigError, for the FileNotFoundError or NotADirectoryError of a host, and
        for the assertion by which mmseg looks for its list of images.

    Example:
        >>> with missing_data_named('train_dataloader'):
        ...     open('/nowhere/train.json')
        Traceback (most recent call last):
        kd_plugins.errors.ConfigError: train_dataloader: [Errno 2] No such file or
        directory: '/nowhere/train.json' (looked from ...). Put the data there, or
        change data_root, ann_file or data_prefix.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, AssertionError) as error:
        if isinstance(error, AssertionError) and '`ann_file`' not in str(error):
            raise
        raise ConfigError(
            f"{error} (looked from '{os.getcwd()}'). Put the data there, or change "
            'data_root, ann_file or data_prefix.',
            key,
        ) from error
