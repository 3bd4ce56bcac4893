"""Which images of a folder are to be labelled."""

import json
from pathlib import Path

from ...errors import ConfigError

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def list_images(folder: str | Path, without: str | Path | None = None) -> list[str]:
    """Names of the images in a folder and the folders in it, in order.

    Args:
        folder: of the images.
        without: a file that names images that have labels: annotations as COCO has them
            (``.json``), or a list, a name on each line, with or without its ending
            (``.txt``).

    Returns: paths below the folder, with '/'.
    Raises: ConfigError if there is no folder or file, or no image is left; for two
        images that differ in their endings alone.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ConfigError(
            f"there is no folder '{folder}', looked from '{Path.cwd()}'.", 'images'
        )
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob('*')
        if path.suffix.lower() in _SUFFIXES
    )
    if not names:
        raise ConfigError(
            f"'{folder}' holds no image, of {', '.join(_SUFFIXES)}.", 'images'
        )
    by_stem: dict[str, str] = {}
    for name in names:
        other = by_stem.setdefault(stem(name), name)
        if other != name:
            raise ConfigError(
                f"'{other}' and '{name}' would have one name for their labels. Rename "
                'one of them.',
                'images',
            )
    if without is None:
        return names
    labelled = {stem(name) for name in _named(Path(without))}
    left = [name for name in names if stem(name) not in labelled]
    if not left:
        raise ConfigError(
            f"names all {len(names)} images of '{folder}': none is left to label.",
            'without',
        )
    if len(left) == len(names):
        raise ConfigError(
            f"'{without}' names no image of '{folder}', such as '{names[0]}'; it "
            f"begins with '{next(iter(sorted(labelled)), '')}'. Names are below that "
            'folder.',
            'without',
        )
    return left


def stem(name: str) -> str:
    """The name without its ending, by which image and labels belong together.

    Example:
        >>> stem('a/b.c.jpg')
        'a/b.c'
    """
    return str(Path(name).with_suffix('').as_posix())


def _named(file: Path) -> list[str]:
    """Images that a file names."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{file}' cannot be read: {error}.", 'without') from error
    if file.suffix != '.json':
        lines = [line.strip() for line in text.splitlines()]
        return [
            line if line.lower().endswith(_SUFFIXES) else f'{line}.jpg'
            for line in lines
            if line
        ]
    try:
        return [str(image['file_name']) for image in json.loads(text)['images']]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"'{file}' is no COCO file, a dict with 'images', each with a "
            f"'file_name' ({error!r}).",
            'without',
        ) from error
