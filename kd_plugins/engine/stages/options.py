"""``--cfg-options`` of a config with stages."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ...errors import ConfigError, collected, located, nearest, raise_together
from ..overrides import check_overrides, merge_in_order
from .config import KEY, config_of, entries_of
from .references import find_references

_OF_ALL = (KEY, 'work_dir', 'resume')  # what is no stage's own


def give_options(page: Config, options: Mapping[str, Any]) -> None:
    """Merge ``--cfg-options`` into a config with stages: they hold for every stage.

    ``stages.<name>.options.<key>`` is of one stage, ``work_dir`` of the whole.

    Args:
        page: with stages, changed in place.
        options: dotted keys to values.

    Raises: ConfigError for one that a stage cannot have; for one that would replace
        what a stage takes from another.
    """
    whole = {
        key: value for key, value in options.items() if key.split('.')[0] in _OF_ALL
    }
    for key in whole:
        first, *below = key.split('.')
        if first == KEY and below[:1] and below[0] not in page[KEY]:
            raise ConfigError(
                f"--cfg-options: '{key}': there is no stage '{below[0]}'. "
                f'{nearest(below[0], page[KEY])}'
            )
    if whole:
        page.merge_from_dict(copy.deepcopy(whole))
    each = {key: value for key, value in options.items() if key not in whole}
    if not each:
        return
    faults: list[ConfigError] = []
    for name, entry in entries_of(page).items():
        with collected(faults), located(f'{KEY}.{name}'):
            cfg = config_of(page, name, entry)
            _check_for_all(cfg, each, name)
        written = entry.get('options') or {}
        kept = {key: value for key, value in written.items() if key not in each}
        page[KEY][name]['options'] = {**kept, **each}  # the last one wins
    raise_together(faults)


def _check_for_all(cfg: Config, options: Mapping[str, Any], name: str) -> None:
    hint = (
        '--cfg-options are of every stage; of one alone: '
        f'{KEY}.{name}.options.<key>=<value>.'
    )
    try:
        check_overrides(cfg, options)
    except ConfigError as error:
        raise ConfigError(f'{error} {hint}') from None
    before = {reference.key for reference in find_references(cfg.to_dict())}
    merge_in_order(cfg, options)
    lost = before - {reference.key for reference in find_references(cfg.to_dict())}
    if lost:
        raise ConfigError(
            f'{", ".join(sorted(lost))} is taken from another stage, and an option '
            f'would replace it. {hint}'
        )
