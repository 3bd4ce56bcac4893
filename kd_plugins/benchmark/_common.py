"""Atomic files, and names shared by several modules."""

import json
import os
from pathlib import Path
from typing import Any

DISTILLERS = ('kd_plugins.Distiller', 'Distiller')  # model.type of a distillation
PEERS = ('kd_plugins.MutualDistiller', 'MutualDistiller')  # of several students


def write_text(path: Path, text: str) -> None:
    """Write a temporary file in the same folder, then rename it.

    Two benchmarks may write the same report at once: each has its temporary file.
    """
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    part.write_text(text, encoding='utf-8')
    os.replace(part, path)


def write_json(path: Path, content: object) -> None:
    """Write JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + '\n')


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
