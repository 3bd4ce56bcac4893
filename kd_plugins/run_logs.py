"""The host's logs of a run, line by line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def scalar_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Lines of all attempts: one for each training window or validation."""
    for path in sorted(folder.glob('*/vis_data/scalars.json')):  # by time of start
        for text in path.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # cut off by a kill
                continue
            if isinstance(line, dict) and 'step' in line:
                yield line
