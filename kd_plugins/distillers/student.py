"""The student by itself: its checkpoint and its config, as its host knows them."""

import copy
from types import FunctionType
from typing import Any

from mmengine.config import Config

from ..config_files import imports_for, is_ours
from ..errors import ConfigError, DistillationError, located, nearest
from ..teachers import model_config
from .auxiliary import STUDENT
from .interface import DistillerLike
from .peers import PEERS, peer_model


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
    Raises: DistillationError if none of the entries is the student's.
    """
    state = distiller.student_state_dict(checkpoint['state_dict'])
    if not state:
        names = ', '.join(list(checkpoint['state_dict'])[:2])
        raise DistillationError(
            "the checkpoint holds no entry of the student's (student.*), but "
            f'{names or "none at all"}.'
        )
    return {'meta': {**checkpoint['meta'], 'cfg': cfg_text}, 'state_dict': state}


def student_config(cfg: Config, peer: str | None = None) -> Config:
    """The config of the student alone, from that of its distillation.

    Of models that learned together it is that of a peer.

    What is ours is left out (runner, hooks, options of the optimiser), and the import
    of this package too, unless the data or something else still needs it. Classes of a
    pure-Python config are named by their paths: it can be written as text.

    Args:
        cfg: of the distillation, or of the student itself.
        peer: name of one; default: that which is deployed.

    Raises: ConfigError for a peer there is not.
    """
    content = _as_text(copy.deepcopy(cfg.to_dict()))
    if 'student' in content.get('model', {}):
        with located('model.student'):
            content['model'] = _as_text(model_config(cfg.model.student).to_dict())
    name = peer_of(cfg, peer)
    if name is not None:
        with located(f'{PEERS}.{name}'):
            content['model'] = _as_text(peer_model(cfg.model.peers[name]).to_dict())
    content.pop('runner_type', None)
    content.pop('strategy', None)
    optim_wrapper = content.get('optim_wrapper') or {}
    for part in ('adapter_cfg', 'peer_cfg'):
        optim_wrapper.pop(part, None)
    for part in ('type', 'constructor'):
        if is_ours(optim_wrapper.get(part)):
            optim_wrapper.pop(part)
    schedulers = content.get('param_scheduler')
    if isinstance(schedulers, dict) and 'type' not in schedulers:
        # By optimiser: the student has just its own.
        content['param_scheduler'] = schedulers.get(STUDENT)
    if content.get('default_hooks'):
        hooks = content['default_hooks']
        content['default_hooks'] = {
            name: hook for name, hook in hooks.items() if not _of_ours(hook)
        }
    if _of_ours(content.get('model_wrapper_cfg')):
        content.pop('model_wrapper_cfg')
    if content.get('custom_hooks'):
        hooks = content['custom_hooks']
        content['custom_hooks'] = [hook for hook in hooks if not _of_ours(hook)]
    imports = imports_for(content)
    content.pop('custom_imports', None)
    return Config({**content, **({'custom_imports': imports} if imports else {})})


def peer_of(cfg: Config, peer: str | None = None) -> str | None:
    """The peer that is meant, of the config of models that learn together.

    Args:
        cfg: of any training.
        peer: its name; None: that which is deployed.

    Returns: None for a config without peers.
    Raises: ConfigError for a peer there is not.
    """
    entries = cfg.get('model', {}).get('peers') or {}
    names = [name for name, entry in entries.items() if entry is not None]
    if peer is not None and peer not in names:
        raise ConfigError(
            f"there is no peer '{peer}'. "
            + (nearest(peer, names) or 'No models learned together in this run.'),
            '--peer',
        )
    return peer or cfg.model.get('deploy') or names[0] if names else None


def _of_ours(part: object) -> bool:
    return is_ours(part.get('type') if isinstance(part, dict) else type(part))


def _as_text(content: object) -> Any:
    """Classes and functions by their paths, which the hosts' registries understand."""
    if isinstance(content, dict):
        return {key: _as_text(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(_as_text(item) for item in content)
    if isinstance(content, (type, FunctionType)):
        return f'{content.__module__}.{content.__qualname__}'
    return content
