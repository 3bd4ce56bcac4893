"""What a stage does that does not train: it prunes a student, or plans one."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ...compression.pruning import Budget
from ...errors import ConfigError, located, nearest

# In the config of such a stage: its action, by name, with the options.
ACTION = 'stage_action'
_BUDGET = ('flops', 'params', 'tolerance')
_KEYS = {
    'prune': ('checkpoint', *_BUDGET, 'importance', 'keep', 'shape', 'seed'),
    'plan': ('checkpoint', 'parts', 'shape'),
}
_LEFT = {'prune': ('config', 'student', 'checkpoint'), 'plan': ('config',)}
ACTIONS = tuple(_KEYS)


def check_action(actions: Mapping[str, Any]) -> None:
    """Refuse what is no action of a stage.

    Args:
        actions: by name; one.

    Raises: ConfigError for several; for an option that there is not; without a
        checkpoint; for a budget that is none.
    """
    if len(actions) > 1:
        raise ConfigError(
            f'a stage does one thing, got {" and ".join(actions)}. Make them two.'
        )
    ((name, options),) = actions.items()
    with located(name):
        if not isinstance(options, Mapping):
            raise ConfigError(f'must be a dict of options, got {options!r}.')
        for key in options:
            if key not in _KEYS[name]:
                raise ConfigError(f"has no '{key}'. {nearest(key, _KEYS[name])}")
        if not isinstance(options.get('checkpoint'), str):
            raise ConfigError(
                "must be the file of the weights, such as '{teacher.student}', got "
                f'{options.get("checkpoint")!r}.',
                'checkpoint',
            )
        if name == 'prune':
            budget_of(options)


def budget_of(options: Mapping[str, Any]) -> Budget:
    """The budget in the options of a stage that prunes.

    Raises: ConfigError for one that is none.
    """
    return Budget(**{key: options[key] for key in _BUDGET if key in options})


def action_of(cfg: Config) -> tuple[str, dict[str, Any]]:
    """Name and options of what a stage does that does not train."""
    ((name, options),) = cfg[ACTION].items()
    return name, dict(options)


def left_by_action(cfg: Config) -> tuple[str, ...] | None:
    """Outputs that a stage leaves which does not train; None of one that does."""
    return _LEFT[action_of(cfg)[0]] if cfg.get(ACTION) else None
