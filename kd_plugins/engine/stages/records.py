"""What is written of a stage in its folder, and whether it still holds."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from mmengine.config import Config

from ...fingerprint import fingerprint, installed_versions
from .. import files
from ..arguments import known_keys
from .actions import ACTION
from .config import Stage
from .outputs import paths_of

FILE = 'stage.json'
# Of a config, what says where and how a training runs and is watched, not what it
# learns: a stage of days is not run again for these.
_NO_MATTER = (
    *('work_dir', 'launcher', 'resume', 'experiment_name', 'env_cfg'),
    *('log_level', 'log_processor', 'visualizer', 'vis_backends'),
    *('test_dataloader', 'test_evaluator', 'test_cfg', 'tta_model', 'tta_pipeline'),
)
_NO_MATTER_BELOW = {
    'default_hooks': ('logger', 'timer', 'visualization'),
    'train_dataloader': (
        *('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory'),
    ),
}
_NO_MATTER_BELOW['val_dataloader'] = _NO_MATTER_BELOW['train_dataloader']
_BLOCK = 1 << 20


@dataclass
class Record:
    """Of a stage that has started.

    Attributes:
        run: an identity, new each time that the stage starts anew.
        config: a fingerprint of each key of its config.
        takes: by reference, what was taken: the file's SHA-256, or of a folder the run
            that it is of.
        versions: of packages, for the reader: another does not make the stage run
            again.
        gives: what it left, by output; None until it is finished.
    """

    run: str
    config: dict[str, str]
    takes: dict[str, str]
    versions: dict[str, str]
    gives: dict[str, Any] | None = field(default=None)

    @classmethod
    def of(cls, stage: Stage, takes: dict[str, str]) -> 'Record':
        """The record of a stage that starts."""
        return cls(uuid4().hex, config_keys(stage.cfg), takes, versions())

    @classmethod
    def read(cls, folder: Path) -> 'Record | None':
        """The record in a folder, if there is one."""
        path = folder / FILE
        return cls(**json.loads(path.read_text())) if path.is_file() else None

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        with files.written(folder / FILE) as part:
            part.write_text(json.dumps(asdict(self), indent=1))

    def changes(self, stage: Stage, takes: Mapping[str, str]) -> Iterator[str]:
        """What is no longer as it was: keys of the config, and what is taken."""
        now = config_keys(stage.cfg)
        for key in sorted(now.keys() | self.config.keys()):
            if now.get(key) != self.config.get(key):
                yield key
        for text, what in takes.items():
            if self.takes.get(text) != what:
                yield text


def config_keys(cfg: Config) -> dict[str, str]:
    """A fingerprint of each key of a config that has a say in what is learned.

    What is no key of a runner is a variable of the file: it counts where it is used.
    """
    read = known_keys('', {})
    assert read is not None
    prints = {}
    for key, value in cfg.to_dict().items():
        if key in _NO_MATTER or (key not in read.names and key != ACTION):
            continue
        if key in _NO_MATTER_BELOW and isinstance(value, Mapping):
            value = {
                name: item
                for name, item in value.items()
                if name not in _NO_MATTER_BELOW[key]
            }
        prints[key] = fingerprint(value)
    return prints


def versions() -> dict[str, str]:
    """Of the packages that train."""
    from ... import __version__

    return {
        'kd_plugins': __version__,
        **installed_versions('torch', 'torchvision', 'numpy'),
    }


def finished(folder: Path) -> Record | None:
    """The record of a finished stage; None of another."""
    record = Record.read(folder)
    return record if record is not None and record.gives is not None else None


def taken(stage: Stage, work_dir: Path) -> dict[str, str] | None:
    """What a stage takes as it is now, as its record names it.

    Args:
        stage: with references.
        work_dir: of all stages.

    Returns: by reference; without those whose files are gone; None if an earlier stage
        is not finished.
    """
    takes = {}
    for reference in stage.takes:
        folder = work_dir / reference.stage
        record = finished(folder)
        if record is None or record.gives is None:
            return None
        if reference.output == 'work_dir':
            takes[reference.text] = record.run
            continue
        paths = paths_of(reference, folder, record.gives)
        paths = [paths] if isinstance(paths, str) else paths
        if all(Path(path).is_file() for path in paths):
            digests = [_digest_of(Path(path)) for path in paths]
            takes[reference.text] = ' '.join(digests)
    return takes


def _digest_of(path: Path) -> str:
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@cache
def _digest(path: Path, _modified: int, _size: int) -> str:
    digest = sha256()
    with path.open('rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def set_aside(folder: Path) -> Path | None:
    """Rename the folder of a stage that starts anew, if an earlier run left something.

    Returns: its new name; None if nothing was there that a new run would take for its
        own.
    """
    if not folder.is_dir():
        return None
    if not any(folder.glob('*.pth')):
        (folder / FILE).unlink(missing_ok=True)
        return None
    number = 1
    while (aside := folder.with_name(f'{folder.name}.old_{number}')).exists():
        number += 1
    folder.rename(aside)
    return aside
