"""The student by itself: its checkpoint and its config, as its host knows them."""

import copy
from typing import Any

from mmengine.config import Config

from ..errors import located
from ..teachers import model_config
from .auxiliary import STUDENT
from .interface import DistillerLike

_OURS = 'kd_plugins'


def student_checkpoint(
    checkpoint: dict[str, Any], distiller: DistillerLike, cfg_text: str
) -> dict[str, Any]:
    """What the host would have saved, had it trained the student alone.

    Args:
        checkpoint: of the distiller, as it is about to be saved: with the averaged
            weights where the host's EMA hook puts them.
        distiller: knows which entries are the student's.
        cfg_text: the student's own config.

    Returns: ``meta`` and ``state_dict``; plain mmdet or mmseg loads it strictly.
    """
    return {
        'meta': {**checkpoint['meta'], 'cfg': cfg_text},
        'state_dict': distiller.student_state_dict(checkpoint['state_dict']),
    }


def student_config(cfg: Config) -> Config:
    """The config of the student alone, from that of its distillation.

    What is ours is left out (runner, hooks, options of the optimiser), and the import
    of this package too, unless the data or something else still needs it.
    """
    content = copy.deepcopy(cfg._cfg_dict).to_dict()
    if 'student' in content.get('model', {}):
        with located('model.student'):
            content['model'] = model_config(cfg.model.student).to_dict()
    content.pop('runner_type', None)
    optim_wrapper = content.get('optim_wrapper') or {}
    optim_wrapper.pop('adapter_cfg', None)
    for part in ('type', 'constructor'):
        if str(optim_wrapper.get(part)).startswith(f'{_OURS}.'):
            optim_wrapper.pop(part)
    schedulers = content.get('param_scheduler')
    if isinstance(schedulers, dict) and 'type' not in schedulers:
        # By optimiser: the student has just its own.
        content['param_scheduler'] = schedulers.get(STUDENT)
    if content.get('default_hooks'):
        hooks = content['default_hooks']
        content['default_hooks'] = {
            name: hook for name, hook in hooks.items() if not _is_ours(hook)
        }
    if _is_ours(content.get('model_wrapper_cfg')):
        content.pop('model_wrapper_cfg')
    if content.get('custom_hooks'):
        hooks = content['custom_hooks']
        content['custom_hooks'] = [hook for hook in hooks if not _is_ours(hook)]
    imports = content.pop('custom_imports', None)
    alone = Config(content)
    if imports and f"'{_OURS}." not in alone.pretty_text:
        imports['imports'] = [
            module for module in imports['imports'] if module.partition('.')[0] != _OURS
        ]
    if imports and imports['imports']:
        alone.custom_imports = imports
    return alone


def _is_ours(hook: Any) -> bool:
    kind = hook.get('type') if isinstance(hook, dict) else type(hook)
    name = kind if isinstance(kind, str) else getattr(kind, '__module__', '')
    return str(name).startswith(f'{_OURS}.')
