"""The sub-folder of a cache: of one teacher, and of one set of views."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from ...errors import ConfigError
from ...fingerprint import fingerprint, plain

_FILE = 'manifest.json'


def open_folder(root: Path, content: Mapping[str, Any]) -> tuple[Path, str]:
    """The sub-folder whose manifest has this content, made if it is missing.

    Args:
        root: of all sub-folders.
        content: whatever the records depend on, by name.

    Returns: the sub-folder, and in words what other sub-folders there are; '' for none.
    Raises: ConfigError where it cannot be written.
    """
    folder = root / fingerprint(content)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(root / '.lock'):
            if not (folder / _FILE).exists():
                part = folder / f'.{_FILE}.part'
                part.write_text(json.dumps(plain(content), indent=2))
                os.replace(part, folder / _FILE)
    except OSError as error:
        raise ConfigError(f"'{root}' cannot be written: {error}.", 'folder') from error
    return folder, _others(root, folder, plain(content))


def _others(root: Path, folder: Path, content: Mapping[str, Any]) -> str:
    manifests = {
        path.parent.name: json.loads(path.read_text())
        for path in sorted(root.glob(f'*/{_FILE}'))
        if path.parent != folder
    }
    lines = [
        f'{name} (differs in {", ".join(_differing(content, manifest))})'
        for name, manifest in manifests.items()
    ]
    return '; '.join(lines)


def _differing(one: Any, other: Any, path: str = '') -> list[str]:
    """Dotted names of what differs between two manifests, to the second level."""
    names = []
    for key in sorted({*one, *other}):
        first, second = one.get(key), other.get(key)
        if first == second:
            continue
        if isinstance(first, dict) and isinstance(second, dict) and not path:
            names += _differing(first, second, f'{key}.')
        else:
            names.append(f'{path}{key}')
    return names
