"""The folder that pseudo-labels are written to, which may be left at any moment.

What made them stands in one file from the start. Each batch leaves a part, whole or not
at all, after the files of its images; when all parts are there they become the one file
that a data set reads.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..files import beside, remove_parts, written

RECORD = 'pseudo_labels.json'
_PARTS = 'parts'


class LabelFolder:
    """Pseudo-labels on disk, some or all of them.

    Args:
        path: the folder.

    Attributes:
        path: the same.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def result(self) -> dict[str, Any] | None:
        """What came of them; None where they are not finished."""
        record = self._record()
        return record.get('result') if record else None

    def open(self, made_by: Mapping[str, Any]) -> None:
        """Begin, or go on where an earlier run was left.

        Args:
            made_by: what the labels depend on, as JSON can hold it.

        Raises: ConfigError for a folder with other files, or with labels that were made
            in another way.
        """
        made_by = json.loads(json.dumps(made_by))
        record = self._record()
        if record is None:
            if self._holds_others():
                raise ConfigError(
                    f"'{self.path}' is there, and holds no pseudo-labels. Name another "
                    'folder.',
                    'out',
                )
            self.path.mkdir(parents=True, exist_ok=True)
            self._write({'made_by': made_by})
        elif record['made_by'] != made_by:
            differ = '; '.join(_differences(record['made_by'], made_by))
            raise ConfigError(
                f"'{self.path}' holds pseudo-labels that were made otherwise: "
                f'{differ}. Name another folder, or remove this one.',
                'out',
            )
        if self.result is None:
            (self.path / _PARTS).mkdir(exist_ok=True)
        else:  # an earlier run may have ended just before
            self._remove_parts()

    def missing(self, batches: int) -> list[int]:
        """Numbers of the batches that have no part."""
        return [each for each in range(batches) if not self._part(each).is_file()]

    def add(self, batch: int, part: Mapping[str, Any]) -> None:
        """Write what came of a batch, after the files of its images."""
        write_json(self._part(batch), part)

    def parts(self, batches: int) -> list[dict[str, Any]]:
        """What came of each batch, in order."""
        return [json.loads(self._part(each).read_text()) for each in range(batches)]

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write down that all is there; the parts are no longer needed."""
        record = self._record() or {}
        self._write({**record, 'result': dict(result)})
        self._remove_parts()

    def _holds_others(self) -> bool:
        """Whether there is something else; not what a first record was killed in."""
        if not self.path.is_dir():
            return self.path.exists()
        return any(each.name != beside(RECORD) for each in self.path.iterdir())

    def _remove_parts(self) -> None:
        shutil.rmtree(self.path / _PARTS, ignore_errors=True)
        for folder in (
            self.path,
            *(each for each in self.path.rglob('*') if each.is_dir()),
        ):
            remove_parts(folder)  # which processes that died left beside their files

    def _part(self, batch: int) -> Path:
        return self.path / _PARTS / f'{batch:07d}.json'

    def _record(self) -> dict[str, Any] | None:
        try:
            record = json.loads((self.path / RECORD).read_text())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and 'made_by' in record else None

    def _write(self, record: Mapping[str, Any]) -> None:
        write_json(self.path / RECORD, record, indent=1)


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write a file, whole or not at all."""
    with written(path) as part:
        part.write_text(json.dumps(content, indent=indent))


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Sequence[str]:
    """Keys of what is no longer as it was, with values that are short."""
    changes = []
    for key in sorted(then.keys() | now.keys()):
        old, new = then.get(key), now.get(key)
        if old != new:
            short = all(
                isinstance(each, (str, int, float, bool)) for each in (old, new)
            )
            changes.append(f'{key} was {old!r}, now {new!r}' if short else key)
    return changes
