"""One optimiser for student and adapters, in which the student notices nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from ..distillers.auxiliary import with_auxiliary
from ..distillers.interface import DistillerLike, is_distiller, unwrap
from ..errors import ConfigError, nearest
from ..losses import DistillationLoss
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS

_DEFAULT = 'DefaultOptimWrapperConstructor'
_ADAPTER_OPTIONS = ('lr_mult', 'decay_mult', 'clip_grad')
_OF_CONSTRUCTORS = ('adapter_cfg', 'paramwise_cfg')
_PEER_OPTIONS = ('optimizer', 'clip_grad', 'paramwise_cfg', 'adapter_cfg')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DistillOptimWrapperConstructor:
    """Runs the configured constructor on the student, then adds adapters and losses.

    The configured constructor sees the student alone, under its own names (layer decay
    and ``custom_keys`` go by names), so its parameter groups are those of a run without
    distillation. Parameters of adapters and losses follow in a group of their own with
    a gradient norm of their own: clipping over all of them would shrink the student's
    step. Without such parameters the optimiser is exactly the host's. A loss that
    trains something by itself makes it one of several (``OptimWrapperDict``): 'student'
    and '<pair>_<name>'; ``param_scheduler`` is for all, or a dict by these names.

    Of peers, which learn together, each has such groups, one peer's after the other's,
    and gradient norms of its own: the steps of none depend on another's gradient.

    Args:
        optim_wrapper_cfg: ``optim_wrapper`` of the config. Of ours in it:
            ``student_constructor``: the configured constructor (the runner puts it
            here); ``adapter_cfg``: ``lr_mult`` and ``decay_mult`` (default 1), and
            ``clip_grad`` (default: the student's) for the group of our own;
            ``peer_cfg``: of a peer, by its name, what of ``optimizer`` (its ``type`` is
            the same for all), ``clip_grad``, ``paramwise_cfg`` and ``adapter_cfg`` is
            its own.
        paramwise_cfg: of the configured constructor.

    Raises: ConfigError if there is no such constructor, peer, or option, and for a
        constructor that gives several optimisers.
    """

    def __init__(
        self,
        optim_wrapper_cfg: dict[str, Any],
        paramwise_cfg: dict[str, Any] | None = None,
    ) -> None:
        host_cfg = optim_wrapper_cfg.copy()
        self._constructor = host_cfg.pop('student_constructor', None) or _DEFAULT
        self._peer_cfg = _as_dict(host_cfg.pop('peer_cfg', None), 'peer_cfg')
        adapter_cfg = host_cfg.pop('adapter_cfg', None)
        _check_constructor(self._constructor)
        self._cfg = {
            **host_cfg,
            'adapter_cfg': adapter_cfg,
            'paramwise_cfg': paramwise_cfg,
        }
        _check_options(adapter_cfg, _ADAPTER_OPTIONS, 'adapter_cfg')
        for name, options in self._peer_cfg.items():
            where = f'peer_cfg.{name}'
            _check_options(options, _PEER_OPTIONS, where)
            adapters, optimizer = (
                _as_dict(options or {}, where).get(key)
                for key in ('adapter_cfg', 'optimizer')
            )
            _check_options(adapters, _ADAPTER_OPTIONS, f'{where}.adapter_cfg')
            _as_dict(optimizer, f'{where}.optimizer')
        self._construct: Callable[[nn.Module], OptimWrapper] = self._built(self._cfg)

    def _built(self, cfg: Mapping[str, Any]) -> Callable[[nn.Module], OptimWrapper]:
        """The configured constructor, of ``optim_wrapper`` and what is ours in it."""
        host_cfg = {key: cfg[key] for key in cfg if key not in _OF_CONSTRUCTORS}
        return OPTIM_WRAPPER_CONSTRUCTORS.build(  # type: ignore[no-any-return]
            {
                'type': self._constructor,
                'optim_wrapper_cfg': host_cfg,
                'paramwise_cfg': cfg['paramwise_cfg'],
            }
        )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The optimiser wrapper of a distiller, or of any other model as its host's."""
        distiller = unwrap(model)
        if not is_distiller(distiller):
            return self._construct(model)
        learners = distiller.learners
        for name in self._peer_cfg:
            if len(learners) == 1 or name not in learners:
                raise ConfigError(
                    f"optim_wrapper.peer_cfg: there is no peer '{name}'. "
                    f'{nearest(name, learners) if len(learners) > 1 else ""}'.rstrip()
                )
        wrappers = {
            name: self._wrapper_of(learner, self._peer_cfg.get(name))
            for name, learner in learners.items()
        }
        wrapper = next(iter(wrappers.values()))
        if len(wrappers) > 1:
            _join(wrappers)
            if distiller.pauses:
                if self._cfg.get('accumulative_counts', 1) != 1:
                    raise ConfigError(
                        'a peer that pauses (model.switches) does so step by step. '
                        'Remove it.',
                        'optim_wrapper.accumulative_counts',
                    )
                distiller.steer(wrapper.optimizer)
        return with_auxiliary(wrapper, distiller.losses)

    def _wrapper_of(
        self, distiller: DistillerLike, changes: Mapping[str, Any] | None
    ) -> OptimWrapper:
        """Of a student and what learns with it; of a peer with what is its own."""
        cfg, construct = self._cfg, self._construct
        if changes:
            cfg = {**cfg, **changes}
            cfg['optimizer'] = {**self._cfg['optimizer'], **(cfg['optimizer'] or {})}
            construct = self._built(cfg)
        wrapper = construct(distiller.student)
        if isinstance(wrapper, OptimWrapperDict):
            raise ConfigError(
                f'optim_wrapper.constructor: {self._constructor} gives the student '
                'several optimisers (OptimWrapperDict); a distiller is trained by one. '
                'Use a constructor that gives a single OptimWrapper.'
            )
        parameters = own_parameters(distiller)
        if parameters:
            adapter_cfg = cfg['adapter_cfg'] or {}
            _add_group(wrapper.optimizer, parameters, adapter_cfg)
            wrapper._clip_grad = ClipApart(wrapper, adapter_cfg.get('clip_grad'))
        return wrapper


def _join(wrappers: Mapping[str, OptimWrapper]) -> None:
    """Let the first of these step what all of them step, each clipped by itself.

    Raises: ConfigError for peers of different optimisers.
    """
    first = next(iter(wrappers.values()))
    for name, wrapper in wrappers.items():
        if hasattr(wrapper, 'grad_name'):  # its own norm is clipped
            wrapper.grad_name += f'_{name}'
        if isinstance(wrapper._clip_grad, ClipApart):
            wrapper._clip_grad.own_name += f'_{name}'
        if wrapper is first:
            continue
        kinds = type(first.optimizer), type(wrapper.optimizer)
        if kinds[0] is not kinds[1]:
            raise ConfigError(
                f'is {kinds[1].__name__}, and another peer has {kinds[0].__name__}: '
                'one optimiser steps them all. Leave out type.',
                f'optim_wrapper.peer_cfg.{name}.optimizer.type',
            )
        for group in wrapper.optimizer.param_groups:
            first.optimizer.add_param_group(dict(group))
    clips = [each._clip_grad for each in wrappers.values() if each.clip_grad_kwargs]
    if clips:

        def clip_each() -> None:
            for clip in clips:
                clip()

        first._clip_grad = clip_each
        # What the host's `step` asks before it clips at all.
        first.clip_grad_kwargs = next(
            each.clip_grad_kwargs for each in wrappers.values() if each.clip_grad_kwargs
        )


def _as_dict(options: Any, where: str) -> dict[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f'must be a dict, got {options!r}.', f'optim_wrapper.{where}')
    return dict(options or {})


def _check_options(
    options: Mapping[str, Any] | None, known: Sequence[str], where: str
) -> None:
    for option in _as_dict(options, where):
        if option not in known:
            raise ConfigError(
                f"optim_wrapper.{where} has no '{option}'. {nearest(option, known)}"
            )


def own_parameters(distiller: DistillerLike) -> dict[str, nn.Parameter]:
    """Parameters of adapters and losses that are trained with the student, by name."""
    parameters = {
        f'adapters.{name}': parameter
        for name, parameter in distiller.adapters.named_parameters()
    }
    for pair, loss in distiller.losses.items():
        assert isinstance(loss, DistillationLoss)
        for name, parameter in loss.trained_with_student().items():
            parameters[f'losses.{pair}.{name}'] = parameter
    return {name: value for name, value in parameters.items() if value.requires_grad}


def _add_group(
    optimizer: torch.optim.Optimizer,
    parameters: dict[str, nn.Parameter],
    adapter_cfg: dict[str, Any],
) -> None:
    group: dict[str, Any] = {'params': list(parameters.values())}
    if 'param_names' in optimizer.param_groups[0]:
        # torch wants all groups with names or none; layer decay gives them.
        group['param_names'] = list(parameters)
    for option, multiplier in (('lr', 'lr_mult'), ('weight_decay', 'decay_mult')):
        if option in optimizer.defaults:
            factor = adapter_cfg.get(multiplier, 1.0)
            group[option] = optimizer.defaults[option] * factor
    optimizer.add_param_group(group)


class ClipApart:
    """Stands in for the ``_clip_grad`` of one optimiser wrapper, on the instance.

    Args:
        wrapper: whose optimiser has the group of our own as its last.
        clip_grad: options of our own group; None: the student's.

    Attributes:
        own_group: index of that group.
        student_options: of the student's clipping; None: it is not clipped.
        own_options: likewise of our own.
        clip_own: torch's function for our own.
        own_name: under which its norm is logged.
    """

    clip_own: Callable[..., Any]

    def __init__(self, wrapper: OptimWrapper, clip_grad: dict[str, Any] | None) -> None:
        self._wrapper = wrapper
        self.own_name = 'grad_norm_adapters'
        self._clip_student = wrapper._clip_grad if wrapper.clip_grad_kwargs else None
        self.student_options: dict[str, Any] | None = wrapper.clip_grad_kwargs
        self.own_options: dict[str, Any] | None = self.student_options
        self.own_group = len(wrapper.optimizer.param_groups) - 1
        if clip_grad is not None:
            options = dict(clip_grad)
            if options.pop('type', 'norm') != 'norm':
                raise ConfigError(
                    "optim_wrapper.adapter_cfg.clip_grad.type must be 'norm', "
                    f"got '{clip_grad['type']}'."
                )
            self.clip_own = torch.nn.utils.clip_grad_norm_
            self.own_options = options
            # What the host's `step` asks before it clips at all.
            wrapper.clip_grad_kwargs = wrapper.clip_grad_kwargs or options
        elif self._clip_student is not None:
            self.clip_own = wrapper.clip_func

    def __call__(self) -> None:
        """Clip the student's gradients by the host's own code, then ours."""
        optimizer = self._wrapper.optimizer
        groups = optimizer.param_groups
        if self._clip_student is not None:
            optimizer.param_groups = groups[: self.own_group]
            try:
                self._clip_student()
            finally:
                optimizer.param_groups = groups
        parameters = [
            parameter
            for parameter in groups[self.own_group]['params']
            if parameter.grad is not None
        ]
        if parameters:
            norm = self.clip_own(parameters, **(self.own_options or {}))
            if norm is not None:  # clipping by value returns none
                self._wrapper.message_hub.update_scalar(
                    f'train/{self.own_name}', float(norm)
                )


def _check_constructor(constructor: Any) -> None:
    if not isinstance(constructor, str):
        return
    with OPTIM_WRAPPER_CONSTRUCTORS.switch_scope_and_registry(None) as registry:
        cls = registry.get(constructor)
        if cls is None:
            names = [*registry.module_dict]
            while registry.parent is not None:
                registry = registry.parent
                names += registry.module_dict
            raise ConfigError(
                f"optim_wrapper.constructor: there is no '{constructor}'. "
                f'{nearest(constructor, names)}'
            )
