"""The configs of the project as files: which there are, and what they say."""

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'

# Files below _base_ are parts; everything else is run as it stands.
FILES = sorted(
    path
    for path in CONFIGS.rglob('*.py')
    if '_base_' not in path.relative_to(CONFIGS).parts
)


@cache
def _loaded(path: Path) -> Config:
    return Config.fromfile(path)


def load(path: Path) -> Config:
    """The config of a file, read once; a copy that the caller may change."""
    return copy.deepcopy(_loaded(path))


def name(path: Path) -> str:
    """Path below configs/, for test ids and messages."""
    return path.relative_to(CONFIGS).as_posix()


def header(path: Path) -> str:
    """The comments that a file begins with, continued lines joined."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith('#'):
            break
        lines.append(line)
    return re.sub(r'\\\n#\s*', '', '\n'.join(lines))


def bases(path: Path) -> list[str]:
    """What a file names in ``_base_``."""
    written = re.search(r'^_base_ = (\[.*?\]|.*?)$', path.read_text(), re.M | re.S)
    return re.findall(r"'([^']+)'", written[1]) if written else []


def host_base(path: Path) -> str | None:
    """The config of the host's (``mmdet::...``) that a file inherits in the end."""
    for base in bases(path):
        found = base if '::' in base else host_base((path.parent / base).resolve())
        if found is not None:
            return found
    return None


def distils(path: Path) -> bool:
    """Whether a config trains a student under a teacher; told without loading it."""
    return "type='kd_plugins.Distiller'" in path.read_text() or any(
        distils((path.parent / base).resolve())
        for base in bases(path)
        if '::' not in base
    )


def pairs(cfg: Config) -> dict[str, Any]:
    """The pairs of a distillation, without those that a child has removed."""
    return {key: pair for key, pair in cfg.model.pairs.items() if pair is not None}


DISTILLATIONS = [path for path in FILES if distils(path)]
# A benchmark's protocol names configs, it is none.
RUNS = [path for path in FILES if path.parent.name != 'benchmarks']
