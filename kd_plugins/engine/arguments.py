"""Which keys a dict of a config may hold: arguments of its ``type``, or listed here."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import mmengine.registry
import torch
from mmengine import runner
from mmengine.optim import OptimWrapper
from mmengine.registry import Registry
from mmengine.utils import import_modules_from_strings
from torch.utils.data import DataLoader

from ..registry import (
    ADAPTERS,
    COMBINATIONS,
    LOSSES,
    SCHEDULES,
    SWITCHES,
    TARGET_TRANSFORMS,
    VIEWS,
)
from ..signatures import arguments

_SCOPES = ('mmdet', 'mmseg', 'mmcv', 'mmengine', 'kd_plugins')


class Keys(NamedTuple):
    """Keys that a dict may hold beside its type's arguments.

    Attributes:
        names: of the keys.
        given_whole: whether any other may be added, if its value is a whole dict.
    """

    names: tuple[str, ...] = ()
    given_whole: bool = False


def arguments_of_type(kind: Any, scope: str | None) -> list[str]:
    """Arguments of whatever a ``type`` may mean; none if it means nothing.

    Args:
        kind: name in a registry (the same name in several: arguments of all), or class.
        scope: ``default_scope`` of the config.
    """
    targets = _resolve(kind, scope) if isinstance(kind, str) else [kind]
    return list(dict.fromkeys(name for item in targets for name in arguments(item)))


def _resolve(name: str, scope: str | None) -> Iterator[Any]:
    ours = (
        *(LOSSES, ADAPTERS, TARGET_TRANSFORMS, SCHEDULES),
        *(COMBINATIONS, SWITCHES, VIEWS),
    )
    for registry in ours:
        cls = registry.get(name)
        if cls is not None:
            yield cls
    if '.' in name:
        keys = [name]
    else:
        scopes = dict.fromkeys([scope, *_SCOPES] if scope else _SCOPES)
        keys = [f'{item}.{name}' for item in scopes]
    for host in _registries(mmengine.registry):
        for key in keys:
            try:
                entry = host.get(key)
            except Exception:  # of importing what registers, or of no such name
                continue
            if callable(entry):
                yield entry
                break  # the nearest scope
    import mmcv.ops  # operators such as 'nms' and 'RoIAlign' are named, not registered

    operator = getattr(mmcv.ops, name, None)
    if callable(operator):
        yield operator


def _registries(module: Any) -> Iterable[Registry]:
    registries = [item for item in vars(module).values() if isinstance(item, Registry)]
    return {id(item): item for item in registries}.values()


def _default_hooks(_node: Mapping[str, Any]) -> Keys:
    names = ('runtime_info', 'timer', 'sampler_seed', 'logger')
    return Keys((*names, 'param_scheduler', 'checkpoint', 'visualization'), True)


def _teachers(node: Mapping[str, Any]) -> Keys:
    from ..teachers.build import is_single

    named = not is_single(node)
    return Keys((), given_whole=True) if named else _teacher(node)


def _cache(_node: Mapping[str, Any]) -> Keys:
    from ..teachers.cache import CacheOptions

    return Keys(tuple(arguments(CacheOptions)))


def _fast(_node: Mapping[str, Any]) -> Keys:
    from ..teachers.fast import KEYS

    return Keys(KEYS)


def _teacher(node: Mapping[str, Any]) -> Keys:
    from ..teachers.ensemble import kind_named

    return Keys(kind_named(node).keys)


def _pairs(node: Mapping[str, Any]) -> Keys:
    from ..distillers.auto.table import NAMES

    # Of those that will be chosen, none stands there to be changed.
    return Keys(NAMES if node.get('type') == 'auto' else (), given_whole=True)


def _pair(_node: Mapping[str, Any]) -> Keys:
    from ..distillers.pair_config import _KEYS
    from ..distillers.peers import PAIR_KEYS

    return Keys((*_KEYS, *PAIR_KEYS))


def _peer(node: Mapping[str, Any]) -> Keys:
    from ..distillers.peers import KEYS

    # Beside a model's own type its arguments count, and none of these.
    return Keys(() if 'type' in node and 'cfg' not in node else KEYS)


def _of(*targets: Any, also: Iterable[str] = ()) -> Callable[[Any], Keys]:
    def keys(node: Mapping[str, Any]) -> Keys:
        typed = 'type' in node
        names = () if typed else [name for item in targets for name in arguments(item)]
        return Keys((*names, *also))

    return keys


# One of several, by name; one of an ensemble.
_TEACHER = r'(.+\.)?teacher(\.\w+)?(\.members\.\d+)?'
# By path of the dict in the config; the first that matches. None: it may hold anything.
_KNOWN: tuple[tuple[str, Callable[[Mapping[str, Any]], Keys] | None], ...] = (
    (
        r'',
        _of(
            runner.Runner,
            also=(
                *('runner_type', 'auto_scale_lr', 'tta_model', 'tta_pipeline'),
                *('custom_imports', 'find_unused_parameters', 'model_wrapper_cfg'),
                *('sync_bn', 'compile', 'activation_checkpointing', 'strategy'),
            ),
        ),
    ),
    (
        r'(.+\.)?(env_cfg|metainfo|task_loss_weights|data_prefix|paramwise_cfg'
        r'|backend_args|strategy)(\..+)?',
        None,
    ),
    (r'(.+\.)?switches', lambda _node: Keys((), given_whole=True)),
    (r'(.+\.)?switches\.\w+', lambda _node: Keys(('pair', 'students'))),
    (r'(.+\.)?peers', lambda _node: Keys((), given_whole=True)),
    (r'(.+\.)?peers\.\w+', _peer),
    (r'(.+\.)?pairs', _pairs),
    (r'(.+\.)?pairs\.\w+', _pair),
    (rf'{_TEACHER}\.class_map', lambda _node: Keys(('student', 'teacher', 'rename'))),
    (rf'{_TEACHER}\.class_map\.rename', None),  # by names of classes
    (rf'{_TEACHER}\.checkpoints', None),  # by iterations
    (r'(.+\.)?teacher', _teachers),
    (rf'{_TEACHER}\.cache', _cache),
    (rf'{_TEACHER}\.fast', _fast),
    (rf'{_TEACHER}\.combine', lambda _node: Keys()),
    (_TEACHER, _teacher),
    (r'(.+\.)?pairs\.\w+\.layer', lambda _node: Keys(('student', 'teacher'))),
    (
        r'\w+_dataloader',
        _of(DataLoader, also=('dataset', 'sampler', 'batch_sampler')),
    ),
    (
        r'optim_wrapper',
        _of(
            OptimWrapper,
            also=('constructor', 'paramwise_cfg', 'adapter_cfg', 'peer_cfg'),
        ),
    ),
    (
        r'optim_wrapper\.(peer_cfg\.\w+\.)?adapter_cfg',
        lambda _node: Keys(('lr_mult', 'decay_mult', 'clip_grad')),
    ),
    (r'optim_wrapper\.peer_cfg', lambda _node: Keys((), given_whole=True)),
    (
        r'optim_wrapper\.peer_cfg\.\w+',
        lambda _node: Keys(('optimizer', 'clip_grad', 'paramwise_cfg', 'adapter_cfg')),
    ),
    (
        r'(.+\.)?clip_grad',
        _of(
            torch.nn.utils.clip_grad_norm_,
            torch.nn.utils.clip_grad_value_,
        ),
    ),
    (
        r'train_cfg',
        _of(runner.EpochBasedTrainLoop, runner.IterBasedTrainLoop, also=('by_epoch',)),
    ),
    (r'val_cfg', _of(runner.ValLoop)),
    (r'test_cfg', _of(runner.TestLoop)),
    (r'randomness', _of(runner.Runner.set_randomness)),
    (r'auto_scale_lr', lambda _node: Keys(('enable', 'base_batch_size'))),
    (r'custom_imports', _of(import_modules_from_strings)),
    (r'log_processor', _of(runner.LogProcessor)),
    (r'default_hooks', _default_hooks),
    (r'(default|custom)_hooks\.\w+', lambda _node: Keys(('priority',))),
    (r'param_scheduler(\.\d+)?', lambda _node: Keys(('convert_to_iter_based',))),
    (r'(.+\.)?norm_cfg', lambda _node: Keys(('requires_grad',))),
    (r'(.+\.)?nms(_cfg)?', lambda _node: Keys(('class_agnostic', 'split_thr'))),
    (
        r'(.+\.)?test_cfg(\.rpn|\.rcnn)?',  # read by the hosts' heads, key by key
        lambda _node: Keys(
            (
                *('mode', 'crop_size', 'stride', 'score_thr', 'nms', 'max_per_img'),
                *('nms_pre', 'min_bbox_size', 'mask_thr_binary'),
            )
        ),
    ),
)


def known_keys(path: str, node: Mapping[str, Any]) -> Keys | None:
    """Keys that are legal in a dict whatever its ``type``.

    Args:
        path: dotted, of the dict in the config; '' for the whole.
        node: the dict.

    Returns: None for a free dict, which may hold anything.
    """
    for pattern, keys in _KNOWN:
        if re.fullmatch(pattern, path):
            return keys(node) if keys is not None else None
    return Keys() if node else None
