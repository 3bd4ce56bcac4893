"""A sub-folder for each teacher, pipeline and precision."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.teachers.cache.manifest import open_folder

CONTENT: dict[str, Any] = {
    'data': 'abc',
    'teacher': {'weights': '12', 'config': '34'},
    'versions': {'torch': '2.4'},
}


def test_the_same_content_has_the_same_folder(tmp_path: Path) -> None:
    folder, others = open_folder(tmp_path, CONTENT)
    assert others == ''
    assert json.loads((folder / 'manifest.json').read_text()) == CONTENT
    assert open_folder(tmp_path, dict(reversed(CONTENT.items()))) == (folder, '')


def test_other_content_has_another_and_the_difference_is_told(tmp_path: Path) -> None:
    first, _ = open_folder(tmp_path, CONTENT)
    changed = CONTENT | {'data': 'xyz', 'teacher': {'weights': '99', 'config': '34'}}
    second, others = open_folder(tmp_path, changed)
    assert second != first
    assert others == f'{first.name} (differs in data, teacher.weights)'


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match=r"folder: '.*file' cannot be written: .*"):
        open_folder(tmp_path / 'file', CONTENT)
