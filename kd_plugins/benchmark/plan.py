"""The runs of a benchmark, each known by a hash of all that decides its result."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from ..checkpoints import locate
from ..config_files import read_config
from ..engine.opening import measures_fidelity
from ..engine.overrides import apply_overrides
from ..errors import CheckpointError, ConfigError
from ._common import DISTILLERS, read_json, write_text
from .protocol import Protocol, Recipe

RESULT = 'result.json'
_WEIGHTS = ('.pth', '.pt', '.safetensors')
_OF_TEACHER = ('model', 'data_preprocessor', 'default_scope')
_HOOK = 'kd_plugins.benchmark.fingerprint.FingerprintHook'


@dataclass(frozen=True)
class Run:
    """One training of one recipe, or the evaluation of the teacher.

    Attributes:
        recipe: its name; 'teacher' for the teacher.
        seed: None for the teacher.
        folder: its work directory.
        arguments: of the command: config, and checkpoint where it is a test.
        options: dotted keys to values, as text.
        key: hash of config, options, seed and the weights the config names.
        fidelity: arguments of the hook that measures it afterwards, of its last
            checkpoint; None: not measured so.
    """

    recipe: str
    seed: int | None
    folder: Path
    arguments: tuple[str, ...]
    options: Mapping[str, str]
    key: str
    fidelity: Mapping[str, Any] | None = None

    @property
    def title(self) -> str:
        """For messages."""
        return self.recipe if self.seed is None else f'{self.recipe}, seed {self.seed}'

    def result(self) -> dict[str, Any] | None:
        """What the finished run wrote; None if it is not finished, or was another."""
        result = read_json(self.folder / RESULT)
        return result if result and result.get('key') == self.key else None

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left to do."""
        result = self.result()
        return result is not None and not self.lacks_fidelity(result)

    def lacks_fidelity(self, result: Mapping[str, Any]) -> bool:
        """Whether that is still to be measured of what it trained."""
        return self.fidelity is not None and result.get('fidelity') != self.fidelity

    @property
    def outdated(self) -> bool:
        """Whether there is a result, but of another config, weights or options."""
        result = read_json(self.folder / RESULT)
        return result is not None and result.get('key') != self.key


def plan_runs(
    protocol: Protocol,
    work_dir: Path,
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
    overrides: Mapping[str, Any] | None = None,
) -> list[Run]:
    """All runs, seed by seed, so that what is finished can be compared at any time.

    Args:
        protocol: what is compared.
        work_dir: of the benchmark; ``<recipe>/seed<k>`` below it are those of the runs.
        recipes: those to run.
        seeds: those to run; a recipe that has seeds of its own runs with no others.
        overrides: options for every run, after a recipe's own.
    """
    options = {
        name: {**recipe.options, **(overrides or {})}
        for name, recipe in recipes.items()
    }
    keys = {
        name: key_of(recipe.config, options[name]) for name, recipe in recipes.items()
    }
    fidelity = {
        name: None if protocol.fidelity is None else dict(protocol.fidelity)
        for name, recipe in recipes.items()
        if recipe.fidelity and _leaves_fidelity_to_us(recipe.config)
    }
    return [
        Run(
            name,
            seed,
            work_dir / name / f'seed{seed}',
            (str(work_dir / name / 'config.py'),),
            {**_as_text(options[name]), 'randomness.seed': str(seed)},
            _digest([keys[name], seed]),
            fidelity.get(name),
        )
        for seed in seeds
        for name, recipe in recipes.items()
        if seed in recipe.seeds_of(seeds)
    ]


def teacher_run(protocol: Protocol, work_dir: Path) -> Run | None:
    """The evaluation of the teacher; None where its score is known or not wanted."""
    teacher = protocol.teacher
    if teacher is None or teacher.score is not None:
        return None
    checkpoint = str(teacher.checkpoint)
    options = protocol.options
    key = _digest([key_of(teacher.config, options), _with_contents(checkpoint)])
    arguments = (str(teacher.config), checkpoint)
    return Run('teacher', None, work_dir / 'teacher', arguments, _as_text(options), key)


def write_configs(work_dir: Path, recipes: Mapping[str, Recipe]) -> None:
    """Write each recipe's ``config.py``, with a record of what it starts from.

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
        write_text(folder / 'config.py', text)


def _leaves_fidelity_to_us(path: Path) -> bool:
    """Whether a config is a distillation without the hook that measures fidelity."""
    cfg = Config.fromfile(path, use_environment_variables=False)
    distils = (cfg.get('model') or {}).get('type') in DISTILLERS
    return distils and not measures_fidelity(cfg)


def key_of(config: Path, options: Mapping[str, Any]) -> str:
    """Hash of a config after its options, and of the weights that it names.

    Raises: ConfigError for options that name nothing.
    """
    # Without the environment's variables: where the data lie changes no result.
    cfg = Config.fromfile(config, use_environment_variables=False)
    apply_overrides(cfg, options)
    return _digest(_with_contents(cfg.to_dict()))


def _with_contents(value: Any) -> Any:
    """Names of weights and of other configs, with what these hold."""
    if isinstance(value, Mapping):
        return {str(key): _with_contents(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_contents(item) for item in value]
    if isinstance(value, str) and value.endswith('.py') and '::' in value:
        # Such as the teacher's: what is read of it, not where its data lie.
        content = read_config(value).to_dict()
        return [value, {key: content.get(key) for key in _OF_TEACHER}]
    if isinstance(value, str) and value.endswith(_WEIGHTS) and '{}' not in value:
        try:
            weights = locate(value).read_bytes()
        except CheckpointError:  # the run itself will say so
            return [value, 'missing']
        return [value, hashlib.sha256(weights).hexdigest()]
    return value


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_text(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as the command line takes them.

    Raises: ConfigError for a value that it cannot take.
    """
    for key, value in options.items():
        if DictAction._parse_iterable(str(value)) != value:
            raise ConfigError(
                f"option '{key}' must be a number, a text or a list of them, got "
                f'{value!r}. Write a config that inherits the recipe instead.'
            )
    return {key: str(value) for key, value in options.items()}
