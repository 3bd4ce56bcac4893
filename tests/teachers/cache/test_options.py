"""``cache`` of a teacher: each misuse has one clear message."""

from pathlib import Path
from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.teachers import Teacher
from kd_plugins.teachers.cache import read_cache_options
from tests.distillers.tiny import faster_rcnn, teacher_of


def test_defaults() -> None:
    options = read_cache_options(dict(folder='~/cache'))
    assert options is not None
    assert options.folder == Path.home() / 'cache'
    assert (options.dtype, options.classes) == ('float16', None)
    assert (options.max_gigabytes, options.recheck) == (10, 0.01)
    assert read_cache_options(None) is None


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(folder=''), r"needs a folder .*folder='work_dirs/cache', got ''"),
        (dict(folder=None), r'needs a folder .* got None'),
        (dict(folder=3), r'needs a folder .* got 3'),
        (dict(foldr='here'), r"no key 'foldr'. Close: 'folder'"),
        (dict(max_gigabytes=0), r'max_gigabytes must be a finite number > 0, got 0'),
        (dict(max_gigabytes='8'), r"max_gigabytes must be .*, got '8'"),
        (dict(dtype='int8'), r"dtype must be 'float16' or 'float32', got 'int8'"),
        (dict(classes=0), r'classes must be a whole number >= 1, got 0'),
        (dict(classes=2.5), r'classes must be a whole number >= 1, got 2.5'),
        (dict(recheck=-1), r'recheck must be a finite number >= 0, got -1'),
        (dict(recheck=2), r'recheck must be at most 1, got 2'),
    ],
)
def test_misuse_is_refused(changes: dict[str, Any], message: str) -> None:
    cfg = dict(folder='here') | changes
    with pytest.raises(ConfigError, match=f'^cache: {message}'):
        Teacher('teacher', teacher_of(faster_rcnn(), cache=cfg))


@pytest.mark.parametrize('cfg', [True, 'work_dirs/cache'])
def test_what_is_no_dict_is_refused(cfg: Any) -> None:
    with pytest.raises(ConfigError, match=r"must be dict\(folder='...'\) or None, got"):
        read_cache_options(cfg)


def test_a_preprocessor_that_draws_for_each_batch_is_refused() -> None:
    student = Teacher('student', teacher_of(_resizing())).model.data_preprocessor
    cfg = teacher_of(faster_rcnn(), cache=dict(folder='here'))
    with pytest.raises(ConfigError, match=r'^cache: BatchSyncRandomResize in .* draws'):
        Teacher('teacher', cfg, student)


def _resizing() -> Any:
    resize = dict(
        type='mmdet.BatchSyncRandomResize', random_size_range=(64, 96), interval=1
    )
    return faster_rcnn(data_preprocessor__batch_augments=[resize])
