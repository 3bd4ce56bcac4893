"""A folder of generated data: built once, atomically, and checksummed.

Of several processes one builds, and the others wait for it. The folder appears by a
rename: a killed build leaves no incomplete folder.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock
from mmengine.logging import print_log

from ..errors import ConfigError

_MANIFEST = 'manifest.json'


def ensure(root: Path, version: str, build: Callable[[Path], None]) -> Path:
    """Folder with the data of this version, built if it is missing.

    Args:
        root: the folder; its parent is made if it is missing.
        version: of generator and parameters; another version is rebuilt.
        build: writes all files into an empty folder.

    Returns: ``root``, whose files match the checksum of the build.

    Raises: ConfigError if ``root`` holds files that were not built here.
    """
    if _is_whole(root, version):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f'.{root.name}.lock'):
        if _is_whole(root, version):  # another process built it while we waited
            return root
        _check_replaceable(root)
        print_log(f'Making {root} ({version})', 'current')
        partial = root.parent / f'.{root.name}.partial'
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed build
        partial.mkdir()
        build(partial)
        manifest = {'version': version, 'sha256': _digest(partial)}
        (partial / _MANIFEST).write_text(json.dumps(manifest, indent=2))
        shutil.rmtree(root, ignore_errors=True)
        os.rename(partial, root)
    return root


def version_of(name: str, sizes: Mapping[str, int], default: Mapping[str, int]) -> str:
    """Version of a data set: its name, and sizes other than the default.

    Raises: ConfigError if a size is below 1.

    Example:
        >>> version_of('digits 1', {'train': 8, 'val': 4}, {'train': 4000, 'val': 500})
        'digits 1, train=8 val=4'
    """
    for split, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name}: '{split}' must be >= 1 images, got {size}.")
    if dict(sizes) == dict(default):
        return name
    return f'{name}, ' + ' '.join(f'{split}={size}' for split, size in sizes.items())


def _manifest(root: Path) -> dict[str, str] | None:
    """The manifest of a build, or None for a folder that was not built here."""
    try:
        manifest = json.loads((root / _MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    valid = isinstance(manifest, dict) and {'version', 'sha256'} <= manifest.keys()
    return manifest if valid else None


def _is_whole(root: Path, version: str) -> bool:
    manifest = _manifest(root)
    return (
        manifest is not None
        and manifest['version'] == version
        and manifest['sha256'] == _digest(root)
    )


def _check_replaceable(root: Path) -> None:
    """Refuse a folder of the user, which a build would delete."""
    empty = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    if not empty and _manifest(root) is None:
        raise ConfigError(
            f"root: '{root}' holds files that were not made here, and would be "
            'deleted. Name another folder, or empty this one.'
        )


def _digest(root: Path) -> str:
    """SHA-256 over the names and contents of all files but the manifest."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob('*')):
        if path.is_file() and path.name != _MANIFEST:
            content = path.read_bytes()
            digest.update(f'{path.relative_to(root)} {len(content)}\n'.encode())
            digest.update(content)
    return digest.hexdigest()
