"""Recipes of several stages: which there are, where the student starts, their seeds."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config_files import read_config
from ..engine.overrides import apply_overrides
from ..engine.stages import Stage, give_options, has_stages, read_stages

_APART = 1000  # seeds of the stages of one run


def stages_of(cfg: Config, options: Mapping[str, Any] | None = None) -> list[Stage]:
    """The stages of a recipe, in order; empty for a recipe of one training.

    Those that do not train are among them: they have a seed, and no log.

    Args:
        cfg: the recipe's, which stays as it is.
        options: dotted keys to values, for every stage.

    Raises: ConfigError as of :func:`~kd_plugins.engine.stages.read_stages`.
    """
    if not has_stages(cfg):
        return []
    cfg = copy.deepcopy(cfg)
    give_options(cfg, options or {})
    return read_stages(cfg)


def trainings_of(
    config: Path, options: Mapping[str, Any] | None = None
) -> dict[str, Config]:
    """The whole config of each training, by the name of its stage; '' of a single one.

    Args:
        config: of a recipe.
        options: dotted keys to values, for every stage.

    Raises: ConfigError as :func:`stages_of`.
    """
    cfg = read_config(config)
    if not has_stages(cfg):
        apply_overrides(cfg, options)
        return {'': cfg}
    give_options(cfg, options or {})
    return {stage.name: stage.cfg for stage in read_stages(cfg) if stage.trains}


def scored_config(cfg: Config) -> Config:
    """A recipe's config, copied; of stages that of the last one, which is scored."""
    stages = stages_of(cfg)
    return stages[-1].cfg if stages else copy.deepcopy(cfg)


def start_of(stages: Sequence[Stage]) -> str:
    """Name of the stage in which the student of the last one starts.

    It is the last stage itself, or that whose weights it continues from
    (``load_from``), or the one before that.
    """
    by_name = {stage.name: stage for stage in stages}
    stage = stages[-1]
    while source := next(
        (each.stage for each in stage.takes if each.key == 'load_from'), None
    ):
        if not by_name[source].trains:
            break  # its weights are of no training here
        stage = by_name[source]
    return stage.name


def seeds_of(stages: Sequence[Stage], seed: int) -> dict[str, int]:
    """A seed for each stage, by its name.

    The stage in which the last one's student starts has the seed of the run: the same
    first weights and batches as of every other recipe. The others, in order, have 1000,
    2000, ... more, so that no two generations begin alike.
    """
    start = start_of(stages)
    others = [stage.name for stage in stages if stage.name != start]
    more = {name: _APART * number for number, name in enumerate(others, start=1)}
    return {stage.name: seed + more.get(stage.name, 0) for stage in stages}
