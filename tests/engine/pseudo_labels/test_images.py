"""Which images of a folder are labelled."""

import json
from pathlib import Path

import pytest

from kd_plugins.engine.pseudo_labels.images import list_images
from kd_plugins.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, one of them in a folder, and what is none."""
    root = tmp_path / 'images'
    (root / 'in').mkdir(parents=True)
    for name in ('b.jpg', 'a.1.PNG', 'in/c.jpeg', 'd.txt'):
        (root / name).touch()
    return root


def test_images_of_all_folders_in_order(folder: Path) -> None:
    assert list_images(folder) == ['a.1.PNG', 'b.jpg', 'in/c.jpeg']


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('labelled.json', json.dumps({'images': [{'file_name': 'b.jpg'}]})),
        ('labelled.txt', 'b\n'),
        ('labelled.txt', 'b.jpg\n\n'),
    ],
)
def test_images_with_labels_are_left_out(folder: Path, name: str, text: str) -> None:
    (folder.parent / name).write_text(text)
    left = list_images(folder, folder.parent / name)
    assert left == ['a.1.PNG', 'in/c.jpeg']


def test_a_dot_in_a_listed_name_is_no_ending(folder: Path) -> None:
    (folder.parent / 'labelled.txt').write_text('a.1\nin/c\n')
    assert list_images(folder, folder.parent / 'labelled.txt') == ['b.jpg']


def test_what_cannot_be_says_so(folder: Path) -> None:
    listed = folder.parent / 'labelled.txt'
    with pytest.raises(ConfigError, match=r"images: there is no folder 'nowhere'"):
        list_images('nowhere')
    with pytest.raises(ConfigError, match=r'without: .*labelled.txt. cannot be read'):
        list_images(folder, listed)
    listed.write_text('train/b.jpg')
    with pytest.raises(ConfigError, match=r'names no image of .* such as .a\.1\.PNG'):
        list_images(folder, listed)
    listed.write_text('a.1\nb\nin/c')
    with pytest.raises(ConfigError, match=r'without: names all 3 images'):
        list_images(folder, listed)
    (folder.parent / 'labelled.json').write_text('[]')
    with pytest.raises(ConfigError, match=r'is no COCO file'):
        list_images(folder, folder.parent / 'labelled.json')
    (folder / 'b.png').touch()
    with pytest.raises(ConfigError, match=r"'b\.jpg' and 'b\.png' would have one name"):
        list_images(folder)
    (folder / 'empty').mkdir()
    with pytest.raises(ConfigError, match=r'holds no image, of \.jpg'):
        list_images(folder / 'empty')
