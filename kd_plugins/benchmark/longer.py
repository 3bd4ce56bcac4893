"""A longer training of the same config: its length and its schedules scaled alike."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config

from ..config_files import type_name
from ..errors import ConfigError

# Arguments of the host's schedulers that count steps.
_COUNTS = ('begin', 'end', 'T_max', 'step_size', 'total_steps')
_LISTS = ('milestones', 'periods')


def scaled_options(cfg: Config, ratio: float) -> dict[str, Any]:
    """Options that make a training ``ratio`` times as long, with its whole schedule.

    Counts are rounded up. The validation interval is scaled too: as many validations as
    before. Hooks keep their own counts.

    Args:
        cfg: with ``train_cfg.max_iters`` or ``train_cfg.max_epochs``, and
            ``param_scheduler``.
        ratio: >= 1.

    Returns: dotted keys to values, of what changes.
    Raises: ConfigError for a config without a length.

    Example:
        >>> cosine = dict(type='CosineAnnealingLR', begin=10, end=100, T_max=90)
        >>> train = dict(max_iters=100, val_interval=50)
        >>> scaled_options(Config(dict(train_cfg=train, param_scheduler=[cosine])), 1.5)
        {'train_cfg.max_iters': 150, 'train_cfg.val_interval': 75,
        'param_scheduler.0.begin': 15, 'param_scheduler.0.end': 150,
        'param_scheduler.0.T_max': 135}
    """
    length_key = length_key_of(cfg)
    train_cfg = cfg.train_cfg
    options = {f'train_cfg.{length_key}': _longer(train_cfg[length_key], ratio)}
    if train_cfg.get('val_interval'):
        interval = _longer(train_cfg.val_interval, ratio)
        options['train_cfg.val_interval'] = interval
    for key, scheduler in _schedulers(cfg.get('param_scheduler'), 'param_scheduler'):
        changed = _scaled_scheduler(scheduler, ratio)
        options |= {f'{key}.{name}': value for name, value in changed.items()}
    return options


def length_key_of(cfg: Config) -> str:
    """The key of ``train_cfg`` that says how long a training is.

    Raises: ConfigError if there is none.
    """
    for key in ('max_iters', 'max_epochs'):
        if (cfg.get('train_cfg') or {}).get(key):
            return key
    raise ConfigError(
        'train_cfg needs max_iters or max_epochs, to be scaled: got '
        f'{dict(cfg.get("train_cfg") or {})}.'
    )


def _scaled_scheduler(scheduler: Mapping[str, Any], ratio: float) -> dict[str, Any]:
    changed: dict[str, Any] = {
        name: _longer(scheduler[name], ratio) for name in _COUNTS if scheduler.get(name)
    }
    changed |= {
        name: [_longer(count, ratio) for count in scheduler[name]]
        for name in _LISTS
        if scheduler.get(name)
    }
    begin, end = scheduler.get('begin', 0), scheduler.get('end')
    if end is not None and scheduler.get('T_max') == end - begin:
        # Rounded up apart they could miss each other by one.
        changed['T_max'] = changed['end'] - changed.get('begin', 0)
    if type_name(scheduler.get('type')).startswith('Exponential'):
        changed['gamma'] = scheduler['gamma'] ** (1 / ratio)
    return changed


def _schedulers(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each scheduler with its key; they may be listed, and by optimiser."""
    if isinstance(node, Mapping):
        if 'type' in node:
            yield key, node
            return
        for name, item in node.items():
            yield from _schedulers(item, f'{key}.{name}')
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for number, item in enumerate(node):
            yield from _schedulers(item, f'{key}.{number}')


def _longer(count: int, ratio: float) -> int:
    # 1500 times 1.9 is a little more than 2850 in floating point.
    return math.ceil(round(count * ratio, 6))
