"""``cache`` of a teacher's configuration, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from ...checks import check_choice, check_float, check_optional_int
from ...errors import ConfigError, nearest

DTYPES = {'float16': torch.float16, 'float32': torch.float32}
GIGABYTE = 1e9


@dataclass(frozen=True)
class CacheOptions:
    """What a teacher stores, where, and how much of it at most.

    Args:
        folder: for the records; a sub-folder for each teacher, pipeline and precision.
        max_gigabytes: 1e9 bytes each, of one such sub-folder.
        dtype: of features: 'float16' or 'float32'. Whatever else a pair reads, such as
            logits and boxes, is stored as the teacher gives it.
        classes: of the class maps of a segmentor, how many of the most probable classes
            are stored of each pixel, with their probabilities in half precision; the
            rest is spread evenly over the other classes. None: the logits of all.
        recheck: share of the batches that were stored whole, of which the teacher is
            run nevertheless, and compared.

    Raises: ConfigError for a value of another kind.
    """

    folder: Path
    max_gigabytes: float = 10.0
    dtype: str = 'float16'
    classes: int | None = None
    recheck: float = 0.01

    def __post_init__(self) -> None:
        check_float('max_gigabytes', self.max_gigabytes, strict=True)
        check_choice('dtype', self.dtype, tuple(DTYPES))
        check_optional_int('classes', self.classes)
        if check_float('recheck', self.recheck) > 1:
            raise ConfigError(f'recheck must be at most 1, got {self.recheck}.')


def read_cache_options(cfg: object) -> CacheOptions | None:
    """Options of ``cache=dict(folder=...)``; None for no cache.

    Raises: ConfigError for an unknown key, or a value that means nothing.
    """
    if cfg is None:
        return None
    if not isinstance(cfg, Mapping):
        raise ConfigError(f"must be dict(folder='...') or None, got {cfg!r}.")
    names = [item.name for item in fields(CacheOptions)]
    for key in cfg:
        if key not in names:
            raise ConfigError(f"no key '{key}'. {nearest(str(key), names)}")
    folder = cfg.get('folder')
    if not isinstance(folder, (str, Path)) or not str(folder):
        raise ConfigError(
            "needs a folder for its records, such as folder='work_dirs/cache', got "
            f'{folder!r}.'
        )
    return CacheOptions(**{**cfg, 'folder': Path(folder).expanduser()})
