"""The stages of a config, each a whole config, checked before anything runs."""

import copy
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from ...config_files import read_config
from ...distillers.student import student_config
from ...errors import ConfigError, collected, located, nearest, raise_together
from ..overrides import merge_in_order
from .actions import ACTION, ACTIONS, action_of, check_action
from .outputs import check_left
from .references import Reference, check_order, find_references

KEY = 'stages'
_ENTRY = ('cfg', 'options', *ACTIONS)


@dataclass(frozen=True)
class Stage:
    """One training of several, or what is done between two of them.

    Attributes:
        name: of the stage, and of its folder.
        source: its config file; empty where it is the page itself.
        cfg: whole, with references as they are written.
        takes: the references.
    """

    name: str
    source: str
    cfg: Config
    takes: tuple[Reference, ...]

    @property
    def trains(self) -> bool:
        """Whether it is a training, and no action between two of them."""
        return not self.cfg.get(ACTION)


def has_stages(cfg: Config) -> bool:
    """Whether a config is of several trainings."""
    return bool(cfg.get(KEY))


def read_stages(
    page: Config, prepare: Callable[[Config], None] | None = None
) -> list[Stage]:
    """The stages of a config, in order.

    Args:
        page: with ``stages=dict(name=dict(cfg=..., options=...))``: each stage is the
            file, or the page itself without ``cfg``, with ``options`` merged as
            ``--cfg-options`` are; None removes a stage of a base. With ``prune`` or
            ``plan`` a stage does not train.
        prepare: called with each stage's config, for what the command line changes.

    Raises: ConfigError for all stages that cannot be, and for all references that lead
        nowhere, by their keys.
    """
    entries = entries_of(page)
    faults: list[ConfigError] = []
    stages: list[Stage] = []
    for name, entry in entries.items():
        with collected(faults), located(f'{KEY}.{name}'):
            cfg = config_of(page, name, entry)
            if prepare is not None:
                prepare(cfg)
            takes = tuple(find_references(cfg.to_dict()))
            stages.append(Stage(name, str(entry.get('cfg') or ''), cfg, takes))
    raise_together(faults)
    names = list(entries)
    earlier: dict[str, Stage] = {}
    for stage in stages:
        for reference in stage.takes:
            with collected(faults), located(f'{KEY}.{stage.name}'):
                check_order(reference, stage.name, list(earlier), names)
                check_left(reference, earlier[reference.stage].cfg)
        earlier[stage.name] = stage
    if not stages[-1].trains:
        what, _ = action_of(stages[-1].cfg)
        faults.append(
            ConfigError(
                f'the last stage trains the model that is asked for, and {what}s none. '
                'Add a stage behind it.',
                f'{KEY}.{stages[-1].name}',
            )
        )
    raise_together(faults)
    return stages


def entries_of(page: Config) -> dict[str, Mapping[str, Any]]:
    """What is written of each stage."""
    stages = page[KEY]
    if not isinstance(stages, Mapping):
        raise ConfigError(
            'must be a dict of stages by name, such as dict(first=dict(cfg=...), '
            f'second=dict()), got {stages!r}.',
            KEY,
        )
    entries = {name: entry for name, entry in stages.items() if entry is not None}
    faults = list(_faults(entries))
    if not entries:
        faults.append(ConfigError('holds no stage.', KEY))
    raise_together(faults)
    return entries


def _faults(entries: Mapping[str, Any]) -> Iterator[ConfigError]:
    for name, entry in entries.items():
        key = f'{KEY}.{name}'
        if not re.fullmatch(r'[A-Za-z_]\w*', str(name)):
            yield ConfigError(
                'a stage is named by letters, digits and underscores: its folder is '
                'named so.',
                key,
            )
        if not isinstance(entry, Mapping):
            yield ConfigError(f'expected a dict, got {entry!r}.', key)
            continue
        for unknown in [each for each in entry if each not in _ENTRY]:
            yield ConfigError(
                f"a stage has no '{unknown}'. {nearest(unknown, _ENTRY)} What changes "
                f'its config stands in options=dict({unknown}=...).',
                key,
            )
        if not isinstance(entry.get('options') or {}, Mapping):
            yield ConfigError(
                f'must be a dict of keys to values, got {entry["options"]!r}.',
                f'{key}.options',
            )


def config_of(page: Config, name: str, entry: Mapping[str, Any]) -> Config:
    """The whole config of a stage."""
    source = entry.get('cfg')
    if source is None:
        cfg = copy.deepcopy(page)
        cfg.pop(KEY)
        cfg.resume = False  # that is of the whole
    else:
        cfg = read_config(source, 'cfg')
        if has_stages(cfg):
            raise ConfigError(
                f"'{source}' has stages of its own. List each of them here.", 'cfg'
            )
    with located('options'):
        merge_in_order(cfg, entry.get('options') or {})
    if cfg.get('model') is None:
        what = f"'{source}' defines" if source else 'the page itself defines'
        raise ConfigError(f'{what} no model: name a whole config.', 'cfg')
    if cfg.get('resume'):
        raise ConfigError(
            f'must be False, got {cfg.resume!r}: --resume is of all stages. To start '
            "from weights of another, write load_from='{<stage>.student}'.",
            'resume',
        )
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('out_dir') is not None:
        raise ConfigError(
            f"must be left out, got '{hook['out_dir']}': a stage leaves its "
            'checkpoints in its own folder, below work_dir.',
            'default_hooks.checkpoint.out_dir',
        )
    actions = {key: entry[key] for key in ACTIONS if entry.get(key) is not None}
    if actions:
        check_action(actions)
        cfg = student_config(cfg)  # whose teachers may be of later stages
        cfg.load_from = None
        cfg[ACTION] = copy.deepcopy(actions)
    cfg.work_dir = os.path.join(page.get('work_dir') or '', name)
    cfg.launcher = page.get('launcher', 'none')
    return cfg
