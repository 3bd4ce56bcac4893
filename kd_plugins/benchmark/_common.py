"""Files that are whole or absent."""

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place, then rename it."""
    part = path.with_name(f'.{path.name}.part')
    part.write_text(text)
    os.replace(part, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + '\n')


def read_json(path: Path) -> dict[str, Any] | None:
    """Content of a JSON file holding an object; None if there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
