"""Whether the run was trained by the config that is looked into."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..case import Case
from ..finding import FINE, WARNING, Finding, NotChecked

_PARTS = ('model', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'train_dataloader')
_SHOWN = 5


def check_run_config(case: Case) -> Iterator[Finding | NotChecked]:
    """The config in the checkpoint beside the one that was given."""
    stored = case.stored_config
    changes = differences(
        {key: case.cfg.get(key) for key in _PARTS if key in stored},
        {key: stored.get(key) for key in _PARTS},
    )
    if not changes:
        yield Finding(FINE, 'The checkpoint was trained by this config.')
        return
    shown = [
        f'{key} {_short(trained)} (here {_short(given)})'
        for key, (given, trained) in list(changes.items())[:_SHOWN]
    ]
    more = len(changes) - len(shown)
    yield Finding(
        WARNING,
        'The checkpoint was trained with other settings than this config has: '
        f'{"; ".join(shown)}{f"; and {more} more" if more else ""}. What follows is '
        'about those here.',
        'Give the same --cfg-options as in the training, or the config that lies in '
        'the folder of the run.',
        {'differences': len(changes)},
    )


def differences(
    given: Any, trained: Any, path: str = ''
) -> dict[str, tuple[object, object]]:
    """Values of two configs that differ, by dotted key; None stands for a missing one.

    Example:
        >>> differences({'a': {'b': 1, 'c': [2]}}, {'a': {'b': 3, 'c': (2,)}})
        {'a.b': (1, 3)}
    """
    if isinstance(given, Mapping) and isinstance(trained, Mapping):
        found: dict[str, tuple[object, object]] = {}
        for key in dict.fromkeys([*given, *trained]):
            where = f'{path}.{key}' if path else str(key)
            found |= differences(given.get(key), trained.get(key), where)
        return found
    if isinstance(given, (list, tuple)) and isinstance(trained, (list, tuple)):
        if len(given) != len(trained):
            return {path: (given, trained)}
        found = {}
        for number, pair in enumerate(zip(given, trained, strict=True)):
            found |= differences(*pair, f'{path}.{number}')
        return found
    return {} if given == trained else {path: (given, trained)}


def _short(value: object) -> str:
    text = 'nothing' if value is None else str(value)
    return text if len(text) <= 40 else f'{text[:40]}...'
