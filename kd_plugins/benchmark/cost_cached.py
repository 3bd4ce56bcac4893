"""A distillation whose teachers are read from a cache, to be timed on one batch."""

import copy
from typing import Any

from mmengine.config import Config

from ..datasets.seeded_views import VIEW, SeededView
from ..errors import ConfigError

_CACHE = dict(max_gigabytes=100, recheck=0.0)


def with_caches(cfg: Config, folder: str) -> Config:
    """A copy of a config in which every teacher has a cache, and no fast copy.

    Raises: ConfigError without a teacher.
    """
    cached = copy.deepcopy(cfg)
    teachers = cached.model.get('teacher')
    if teachers is None:
        raise ConfigError('there is no teacher to cache.', key='model.teacher')
    several = not {'cfg', 'model'} & teachers.keys()
    for teacher in teachers.values() if several else (teachers,):
        teacher.pop('fast', None)
        teacher['cache'] = dict(folder=folder, **_CACHE)
    return cached


def marked(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with data samples that say which items they are, as SeededViews does.

    Args:
        batch: of the data loader; it stays as it is.
    """
    samples = copy.copy(batch['data_samples'])
    for number, sample in enumerate(samples):
        samples[number] = sample.new()
        view = SeededView(number, len(samples), 1, 'one batch', number)
        samples[number].set_metainfo({VIEW: view})
    return {**batch, 'data_samples': samples}
