"""The protocol of a benchmark: the comparison, fixed before the measurement."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError, located, nearest

_KEYS = (
    *('metric', 'lower_is_better', 'scale', 'unit', 'decimals', 'details'),
    *('seeds', 'baseline', 'recipes', 'options', 'teacher', 'comparisons'),
    *('workers', 'cost', 'title', 'pictures', 'fidelity', 'equal_time'),
)
_RECIPE_KEYS = (
    *('config', 'options', 'own_start', 'seeds', 'method', 'note', 'fidelity'),
)
_PICTURE_KEYS = ('file', 'text')
_TEACHER_KEYS = ('config', 'checkpoint', 'score')


@dataclass(frozen=True)
class Recipe:
    """One way of training the student.

    Attributes:
        name: of its row in the table, and of its folder.
        config: its configuration file.
        options: dotted keys to values, merged into the config.
        own_start: it deliberately starts from other weights than the baseline: the
            tables mark it, and there is no warning.
        seeds: some of the protocol's seeds; None: all of them.
        method: its name on the report's page; default: ``name``.
        note: a sentence for the report's page.
        fidelity: whether the protocol's ``fidelity`` applies.
    """

    name: str
    config: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    own_start: bool = False
    seeds: tuple[int, ...] | None = None
    method: str = ''
    note: str = ''
    fidelity: bool = True

    @cached_property
    def written(self) -> Config:
        """The config as its file has it, read once: whoever changes it, copies it.

        Without environment variables: the folder of the data does not affect a result.
        """
        return Config.fromfile(self.config, use_environment_variables=False)

    @property
    def title(self) -> str:
        """Name for the report."""
        return self.method or self.name

    def seeds_of(self, seeds: Sequence[int]) -> tuple[int, ...]:
        """The seeds of the recipe among these seeds."""
        allowed = self.seeds
        return tuple(seed for seed in seeds if allowed is None or seed in allowed)


@dataclass(frozen=True)
class TeacherEntry:
    """The teacher, whose score is the upper end of the gap.

    Attributes:
        config: its configuration file.
        checkpoint: its weights, as for ``tools/test.py``.
        score: in units of the metric; None: a run evaluates it once.
    """

    config: Path
    checkpoint: str | None = None
    score: float | None = None


@dataclass(frozen=True)
class Picture:
    """A picture of a benchmark.

    Attributes:
        file: PNG, JPEG or WebP.
        text: its caption, also for screen readers.
    """

    file: Path
    text: str


@dataclass(frozen=True)
class Protocol:
    """The comparison of a benchmark. See :func:`read_protocol` for the file.

    Attributes:
        path: the file.
        metric: key of the score in the validation, such as 'coco/bbox_mAP'.
        lower_is_better: the score is an error: a gain is a decrease.
        scale: factor of the reported metrics (100: percent).
        unit: name of the score in the tables.
        decimals: of scores in the tables.
        details: further metrics for a separate table, by name or glob ('IoU.*').
        seeds: each recipe runs once with each seed, unless it has its own seeds.
        baseline: name of the recipe that gains refer to.
        recipes: by name, the baseline first.
        options: dotted keys to values, for all recipes and the teacher's test.
        teacher: None leaves out the share of the gap closed.
        comparisons: pairs of names: the first is expected to be better.
        workers: parallel runs; None: as many as there are cores.
        cost: recipes for the step cost, with a bound of the ratio, or None.
        title: on the report's page; default: the name of the file.
        pictures: for the report's page.
        fidelity: arguments of :class:`~kd_plugins.engine.hooks.FidelityHook`. After the
            training it measures the last checkpoint of every distillation whose config
            has no such hook, also of earlier runs. None: it is not measured.
        equal_time: names of recipes of one training, each of which is trained for as
            long as every other one, see :mod:`~kd_plugins.benchmark.equal_time`.
    """

    path: Path
    metric: str
    seeds: tuple[int, ...]
    baseline: str
    recipes: Mapping[str, Recipe]
    teacher: TeacherEntry | None = None
    comparisons: tuple[tuple[str, str], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    lower_is_better: bool = False
    scale: float = 1.0
    unit: str = 'score'
    decimals: int = 2
    details: tuple[str, ...] = ()
    workers: int | None = None
    cost: Mapping[str, float | None] = field(default_factory=dict)
    title: str = ''
    pictures: tuple[Picture, ...] = ()
    fidelity: Mapping[str, Any] | None = None
    equal_time: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the file, without its ending."""
        return self.path.stem

    def gain(self, score: float, reference: float) -> float:
        """Improvement of a score over a reference; below 0 if it is worse."""
        return reference - score if self.lower_is_better else score - reference

    def select(self, names: Sequence[str] | None) -> dict[str, Recipe]:
        """Recipes of these names (default: all), and always the baseline.

        Raises: ConfigError for an unknown name.
        """
        for name in names or ():
            if name not in self.recipes:
                raise ConfigError(
                    f"--recipes: {self.path} has no '{name}'. "
                    f'{nearest(name, self.recipes)}'
                )
        return {
            name: recipe
            for name, recipe in self.recipes.items()
            if names is None or name in names or name == self.baseline
        }


def read_protocol(path: str | Path) -> Protocol:
    """Read and check a protocol file: a Python config with the keys of Protocol.

    ``recipes`` maps names to ``dict(config=..., options={...}, own_start=False,
    seeds=[0], method='KD', note='...', fidelity=True)``, where only ``config`` is
    required; ``teacher`` is ``dict(config=..., checkpoint=..., score=...)``,
    ``pictures`` a list of ``dict(file=..., text=...)``. Paths are relative to the file.
    ``equal_time`` is by default the baseline.

    Raises: ConfigError that names the key to change.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"there is no protocol file '{path}'.")
    path = Path(os.path.relpath(path))
    content = Config.fromfile(path).to_dict()
    with located(str(path)):
        _check_keys(content, _KEYS)
        for key in ('metric', 'seeds', 'baseline', 'recipes'):
            if key not in content:
                raise ConfigError(f"needs the key '{key}'.")
        content['seeds'] = _read_seeds(content['seeds'])
    recipes = {}
    for name, entry in content['recipes'].items():
        with located(f'{path}: recipes.{name}'):
            recipes[name] = _read_recipe(path, name, entry, content)
    baseline = content['baseline']
    if baseline not in recipes:
        raise ConfigError(
            f"{path}: baseline '{baseline}' is none of the recipes. "
            f'{nearest(str(baseline), recipes)}'
        )
    if recipes[baseline].own_start:
        raise ConfigError(
            f"{path}: the baseline '{baseline}' is the start that own_start differs "
            'from. Remove own_start there.'
        )
    if recipes[baseline].seeds is not None:
        raise ConfigError(
            f"{path}: the baseline '{baseline}' runs with every seed, as gains over it "
            'are paired by seed. Remove seeds there.'
        )
    content['recipes'] = {baseline: recipes.pop(baseline), **recipes}
    pictures = []
    for number, entry in enumerate(content.get('pictures', ())):
        with located(f'{path}: pictures[{number}]'):
            pictures.append(_read_picture(path, entry))
    content['pictures'] = tuple(pictures)
    content['details'] = _read_details(path, content.get('details', ()))
    content['comparisons'] = tuple(
        (str(first), str(second)) for first, second in content.get('comparisons', ())
    )
    content['equal_time'] = tuple(content.get('equal_time', (baseline,)))
    named = {
        'equal_time': content['equal_time'],
        'comparisons': [name for pair in content['comparisons'] for name in pair],
        'cost': list(content.get('cost', {})),
    }
    for key, names in named.items():
        for name in names:
            if name not in content['recipes']:
                raise ConfigError(
                    f"{path}: {key} names '{name}', which is none of the recipes. "
                    f'{nearest(name, content["recipes"])}'
                )
    if content.get('teacher') is not None:
        with located(f'{path}: teacher'):
            content['teacher'] = _read_teacher(path, content['teacher'])
    return Protocol(path=path, **content)


def _read_recipe(
    path: Path, name: str, entry: Mapping[str, Any], content: Mapping[str, Any]
) -> Recipe:
    if not re.fullmatch(r'[\w.-]+', name) or name == 'teacher':
        raise ConfigError(
            "a recipe's name is that of a folder: letters, digits, '-', '_' and '.' "
            "only, and not 'teacher'."
        )
    _check_keys(entry, _RECIPE_KEYS)
    seeds = None
    if entry.get('seeds') is not None:
        seeds = _read_seeds(entry['seeds'])
        unknown = sorted(set(seeds) - set(content['seeds']))
        if unknown:
            raise ConfigError(
                'must be some of the seeds of the protocol, '
                f'{list(content["seeds"])}, as the baseline runs with no others, got '
                f'{list(seeds)}.',
                key='seeds',
            )
    return Recipe(
        name,
        _config(path, entry),
        {**content.get('options', {}), **entry.get('options', {})},
        bool(entry.get('own_start', False)),
        seeds,
        str(entry.get('method', '')),
        str(entry.get('note', '')),
        bool(entry.get('fidelity', True)),
    )


def _read_picture(path: Path, entry: Mapping[str, Any]) -> Picture:
    _check_keys(entry, _PICTURE_KEYS)
    for key in _PICTURE_KEYS:
        if not entry.get(key):
            raise ConfigError(f"needs the key '{key}'.")
    file = Path(_beside(path, entry['file']))
    if not file.is_file():
        raise ConfigError(f"there is no file '{file}'.", key='file')
    return Picture(file, str(entry['text']))


def _read_teacher(path: Path, entry: Mapping[str, Any]) -> TeacherEntry:
    _check_keys(entry, _TEACHER_KEYS)
    if entry.get('score') is None and entry.get('checkpoint') is None:
        raise ConfigError('needs a checkpoint, or its score.')
    checkpoint = entry.get('checkpoint')
    if checkpoint is not None and '::' not in checkpoint and '://' not in checkpoint:
        checkpoint = _beside(path, checkpoint)
    return TeacherEntry(_config(path, entry), checkpoint, entry.get('score'))


def _config(path: Path, entry: Mapping[str, Any]) -> Path:
    if 'config' not in entry:
        raise ConfigError("needs the key 'config'.")
    config = Path(_beside(path, entry['config']))
    if not config.is_file():
        raise ConfigError(f"there is no file '{config}'.", key='config')
    return config


def _beside(path: Path, name: str) -> str:
    """A path relative to the protocol, as `_base_` is relative to a config."""
    return os.path.relpath((path.parent / name).resolve())


def _read_seeds(seeds: Sequence[Any]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f'seeds must be different numbers, got {seeds}.')
    return tuple(int(seed) for seed in seeds)


def _read_details(path: Path, details: Any) -> tuple[str, ...]:
    if isinstance(details, str) or not all(isinstance(item, str) for item in details):
        raise ConfigError(
            f"{path}: details must be a list of metrics, such as ['mAcc', 'IoU.*'], "
            f'got {details!r}.'
        )
    return tuple(details)


def _check_keys(content: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in content:
        if key not in keys:
            raise ConfigError(f"no key '{key}'. {nearest(key, keys)}")
