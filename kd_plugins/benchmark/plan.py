"""The runs of a benchmark, each with a hash of everything that affects its result."""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from ..checkpoints import locate
from ..config_files import read_config
from ..engine.opening import measures_fidelity
from ..engine.overrides import apply_overrides
from ..engine.stages import Stage
from ..engine.stages.config import KEY as STAGES
from ..errors import CheckpointError, ConfigError
from ._common import DISTILLERS, read_json, write_text
from .protocol import Protocol, Recipe
from .stages import scored_config, seeds_of, stages_of, start_of

RESULT = 'result.json'
_WEIGHTS = ('.pth', '.pt', '.safetensors')
_OF_TEACHER = ('model', 'data_preprocessor', 'default_scope')
_HOOK = 'kd_plugins.benchmark.fingerprint.FingerprintHook'


@dataclass(frozen=True)
class Run:
    """One training of one recipe, or the evaluation of the teacher.

    Attributes:
        recipe: name of the recipe; 'teacher' for the teacher.
        seed: None for the teacher.
        folder: its work directory.
        arguments: of the command: config, and for a test the checkpoint.
        options: dotted keys to values, as text.
        key: hash of config, options, seed and the weights in the config.
        fidelity: arguments of the hook that measures the last checkpoint after the
            training; None: it is not measured.
        stages: names of the stages, each a folder below; empty for one training.
        start: the stage in which the student starts; empty for one training.
    """

    recipe: str
    seed: int | None
    folder: Path
    arguments: tuple[str, ...]
    options: Mapping[str, str]
    key: str
    fidelity: Mapping[str, Any] | None = None
    stages: tuple[str, ...] = ()
    start: str = ''

    @property
    def title(self) -> str:
        """Name for messages."""
        return self.recipe if self.seed is None else f'{self.recipe}, seed {self.seed}'

    def result(self) -> dict[str, Any] | None:
        """The result file; None if the run is not finished, or the key differs."""
        result = read_json(self.folder / RESULT)
        return result if result and result.get('key') == self.key else None

    @property
    def complete(self) -> bool:
        """Whether the run has its result, and its fidelity if requested."""
        result = self.result()
        return result is not None and not self.lacks_fidelity(result)

    def lacks_fidelity(self, result: Mapping[str, Any]) -> bool:
        """Whether the result lacks the requested fidelity."""
        return self.fidelity is not None and result.get('fidelity') != self.fidelity

    @property
    def outdated(self) -> bool:
        """Whether there is a result of another config, weights or options."""
        result = read_json(self.folder / RESULT)
        return result is not None and result.get('key') != self.key


def plan_runs(
    protocol: Protocol,
    work_dir: Path,
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
    overrides: Mapping[str, Any] | None = None,
) -> list[Run]:
    """All runs, seed by seed: finished runs can be compared at any time.

    Args:
        protocol: of the benchmark.
        work_dir: of the benchmark; the runs use ``<recipe>/seed<k>`` below it.
        recipes: the recipes to run.
        seeds: the seeds to run; a recipe with its own seeds runs only with these.
        overrides: options for every run, after the options of a recipe.
    """
    options = {
        name: {**recipe.options, **(overrides or {})}
        for name, recipe in recipes.items()
    }
    stages = {
        name: stages_of(recipe.written, options[name])
        for name, recipe in recipes.items()
    }
    keys = {
        name: _key(recipe.written, options[name], stages[name])
        for name, recipe in recipes.items()
    }
    fidelity = {
        name: None if protocol.fidelity is None else dict(protocol.fidelity)
        for name, recipe in recipes.items()
        if recipe.fidelity and _lacks_fidelity_hook(recipe.written)
    }
    return [
        Run(
            name,
            seed,
            work_dir / name / f'seed{seed}',
            (str(work_dir / name / 'config.py'),),
            {**_as_text(options[name]), **_seed_options(stages[name], seed)},
            _digest([keys[name], seed]),
            fidelity.get(name),
            tuple(stage.name for stage in stages[name] if stage.trains),
            start_of(stages[name]) if stages[name] else '',
        )
        for seed in seeds
        for name, recipe in recipes.items()
        if seed in recipe.seeds_of(seeds)
    ]


def teacher_run(protocol: Protocol, work_dir: Path) -> Run | None:
    """The evaluation of the teacher; None for a given score, or without a teacher."""
    teacher = protocol.teacher
    if teacher is None or teacher.score is not None:
        return None
    checkpoint = str(teacher.checkpoint)
    options = protocol.options
    cfg = Config.fromfile(teacher.config, use_environment_variables=False)
    key = _digest([key_of(cfg, options), _with_contents(checkpoint)])
    arguments = (str(teacher.config), checkpoint)
    return Run('teacher', None, work_dir / 'teacher', arguments, _as_text(options), key)


def _seed_options(stages: Sequence[Stage], seed: int) -> dict[str, str]:
    if not stages:
        return {'randomness.seed': str(seed)}
    return {
        f'{STAGES}.{name}.options.randomness.seed': str(each)
        for name, each in seeds_of(stages, seed).items()
    }


def write_configs(work_dir: Path, recipes: Mapping[str, Recipe]) -> None:
    """Write each recipe's ``config.py``, with the hook that records its start.

    Args:
        work_dir: of the benchmark.
        recipes: by name.
    """
    for name, recipe in recipes.items():
        folder = work_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        hooks = {'fingerprint': {'type': _HOOK}}
        text = (
            f'# The recipe, and a record of what it starts from: {_HOOK}.\n'
            f'_base_ = [{str(recipe.config.resolve())!r}]\n'
            f'default_hooks = {hooks!r}\n'
        )
        # A stage of a file of its own has nothing of the page.
        own = [stage.name for stage in stages_of(recipe.written) if stage.source]
        if own:
            options = {'options': {'default_hooks': hooks}}
            text += f'{STAGES} = {dict.fromkeys(own, options)!r}\n'
        write_text(folder / 'config.py', text)


def _lacks_fidelity_hook(cfg: Config) -> bool:
    """Whether a config is a distillation without the hook that measures fidelity."""
    cfg = scored_config(cfg)
    distils = (cfg.get('model') or {}).get('type') in DISTILLERS
    return distils and not measures_fidelity(cfg)


def key_of(cfg: Config, options: Mapping[str, Any]) -> str:
    """Hash of a config with its options, and of the weights in the config.

    Args:
        cfg: read without environment variables; it stays as it is.
        options: dotted keys to values.

    Raises: ConfigError for unknown options.
    """
    return _key(cfg, options, stages_of(cfg, options))


def _key(cfg: Config, options: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    if stages:
        return _digest(
            {each.name: _with_contents(each.cfg.to_dict()) for each in stages}
        )
    cfg = copy.deepcopy(cfg)
    apply_overrides(cfg, options)
    return _digest(_with_contents(cfg.to_dict()))


def _with_contents(value: Any) -> Any:
    """Names of weights and of other configs, with their contents."""
    if isinstance(value, Mapping):
        return {str(key): _with_contents(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_contents(item) for item in value]
    if isinstance(value, str) and value.endswith('.py') and '::' in value:
        return [value, _used_of(value)]
    if isinstance(value, str) and value.endswith(_WEIGHTS) and '{}' not in value:
        try:
            weights = locate(value).read_bytes()
        except CheckpointError:  # the run will report it
            return [value, 'missing']
        return [value, hashlib.sha256(weights).hexdigest()]
    return value


@cache
def _used_of(name: str) -> dict[str, Any]:
    """Of a package's config, such as the teacher's: the parts that are used."""
    content = read_config(name).to_dict()
    return {key: content.get(key) for key in _OF_TEACHER}


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_text(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as text for the command line.

    Raises: ConfigError for a value without a text form.
    """
    for key, value in options.items():
        if DictAction._parse_iterable(str(value)) != value:
            raise ConfigError(
                f"option '{key}' must be a number, a text or a list of them, got "
                f'{value!r}. Write a config that inherits the recipe instead.'
            )
    return {key: str(value) for key, value in options.items()}
