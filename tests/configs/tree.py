"""The configs of the project as files: which there are, and what they say."""

import copy
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_plugins.engine.stages import has_stages, read_stages
from kd_plugins.teachers import model_config

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'

# Files below _base_ are parts; everything else is run as it stands.
FILES = sorted(
    path
    for path in CONFIGS.rglob('*.py')
    if '_base_' not in path.relative_to(CONFIGS).parts
)
# Our own keys; distill.py brings the first two.
ADDED = {'custom_imports', 'runner_type', 'model', 'stages'}
# Of host configs with crop and schedule of Liu et al.; of all others nothing but the
# model is changed.
OWN_SCHEDULE = '_40k_cityscapes-512x512'
# Of a host config whose model is of another kind.
OWN_MODEL = '_25k_nyu-480x480'


@cache
def _loaded(path: Path, data: str | None) -> Config:
    return Config.fromfile(path)  # in which ``data``, of the environment, is replaced


def load(path: Path) -> Config:
    """The config of a file, read once; a copy that the caller may change."""
    return copy.deepcopy(_loaded(path, os.environ.get('KD_PLUGINS_DATA')))


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


def written_bases(path: Path) -> list[str]:
    """What a file names in ``_base_``, as it stands there."""
    written = re.search(r'^_base_ = (\[.*?\]|.*?)$', path.read_text(), re.M | re.S)
    return re.findall(r"'([^']+)'", written[1]) if written else []


def own_bases(path: Path) -> list[Path]:
    """The files of ours among them."""
    names = (name for name in written_bases(path) if '::' not in name)
    return [(path.parent / name).resolve() for name in names]


def parts(path: Path) -> Iterator[Path]:
    """The files of ours that a file inherits, and those that these do."""
    for base in own_bases(path):
        yield base
        yield from parts(base)


def bases(path: Path) -> Iterator[Path | str]:
    """The configs that a file inherits, also by its parts: ours, and hosts' by name."""
    for written in written_bases(path):
        if '::' not in written:
            ours = (path.parent / written).resolve()
            yield from [ours] if ours in FILES else bases(ours)
        elif '::_base_/' not in written:
            yield written


def host_base(path: Path) -> str | None:
    """The config of the host's (``mmdet::...``) that a file inherits in the end."""
    for base in bases(path):
        found = host_base(base) if isinstance(base, Path) else base
        if found is not None:
            return found
    return None


def says(path: Path, text: str) -> bool:
    """Whether a file, or one of ours that it inherits, holds a text."""
    inherited = (says(base, text) for base in own_bases(path))
    return text in path.read_text() or any(inherited)


def distils(path: Path) -> bool:
    """Whether a config trains a student by pairs; told without loading it."""
    return says(path, "type='kd_plugins.Distiller'")


def learns_together(path: Path) -> bool:
    """Whether a config trains models that teach each other."""
    return says(path, "type='kd_plugins.MutualDistiller'")


def alone(path: Path) -> Path | None:
    """The config of ours for a distillation's student alone.

    That which the header names, or what is wrapped.
    """
    named = re.search(r'^# Alone: +python tools/train\.py +(\S+)', header(path), re.M)
    if named:
        return ROOT / named[1]
    ours = (base for base in bases(path) if isinstance(base, Path))
    return next((base for base in ours if not distils(base)), None)


def plain(value: Any) -> Any:
    """Without the scopes that mmengine notes on what comes from a host's config."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def inner(model: Any) -> Any:
    """The host's model within one that is made smaller."""
    if model.get('type') == 'kd_plugins.Quantized':
        return model_config(model.model)
    return model


def settings(cfg: Config) -> dict[str, Any]:
    """All of a config but the model, and what we add."""
    whole: dict[str, Any] = plain(cfg._cfg_dict.to_dict())
    return {key: value for key, value in whole.items() if key not in ADDED}


def pairs(cfg: Config) -> dict[str, Any]:
    """The pairs of a distillation, without those that a child has removed.

    Of pairs that are chosen when it is built, those that are written beside.
    """
    return {
        key: pair
        for key, pair in cfg.model.pairs.items()
        if pair is not None and key != 'type'
    }


def has_teacher(cfg: Config) -> bool:
    """Whether a distillation has a teacher: some pairs need none."""
    return cfg.model.get('teacher') is not None


def is_auto(cfg: Config) -> bool:
    """Whether the pairs are chosen when it is built."""
    return cfg.model.pairs.get('type') == 'auto'


def first_stage(path: Path, tokens: str) -> Path:
    """The config of ours whose work_dir a distillation's loss reads tokens from."""
    return path.with_name(f'{Path(tokens).parent.name}.py')


def stages_of(path: Path) -> list[Config]:
    """The configs of a file's trainings, in order; of any other file its own."""
    cfg = load(path)
    if not has_stages(cfg):
        return [cfg]
    return [stage.cfg for stage in read_stages(cfg) if stage.trains]


# What a teacher teaches by its labels alone: there are no pairs.
BY_LABELS = ('pseudolabel',)
DISTILLATIONS = [path for path in FILES if distils(path)]
# Of models that learn together.
PEERS = [path for path in FILES if learns_together(path)]
# Of several trainings in one process, by one config.
STAGED = [path for path in DISTILLATIONS if says(path, '\nstages = ')]
# First stages of a distillation: of a teacher, without a student.
FIRST_STAGES = [
    path for path in FILES if "type='kd_plugins.MaskLearner'" in path.read_text()
]
# On the embedded data, at the top: what one runs first.
MAIN_JOBS = [path for path in DISTILLATIONS if path.parent == CONFIGS]
# A benchmark's protocol names configs, it is none.
RUNS = [path for path in FILES if path.parent.name != 'benchmarks']
