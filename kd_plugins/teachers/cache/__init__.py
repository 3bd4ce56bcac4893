"""Records of what a teacher gave for each seeded view."""

from .batch import CachedBatch, Kind
from .cache import TeacherCache, arithmetic_of, check_batch_augments
from .options import CacheOptions, read_cache_options
from .shelf import Shelf

__all__ = [
    'CacheOptions',
    'CachedBatch',
    'Kind',
    'Shelf',
    'TeacherCache',
    'arithmetic_of',
    'check_batch_augments',
    'read_cache_options',
]
