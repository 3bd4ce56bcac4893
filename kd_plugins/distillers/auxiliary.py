"""What losses train by themselves: its optimisers, and its steps."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn

from ..errors import ConfigError, located, nearest
from ..losses import AuxiliaryOptimizer, DistillationLoss
from .pair import statistic_name

STUDENT = 'student'
# What is trained apart computes in float32.
_MIXED = ('AmpOptimWrapper', 'ApexOptimWrapper', 'BFloat16OptimWrapper')


def auxiliary_of(
    losses: nn.ModuleDict,
) -> dict[str, tuple[str, str, AuxiliaryOptimizer]]:
    """Pair, name and what is trained, by the name of its optimiser: '<pair>_<name>'."""
    auxiliary = {}
    for pair, loss in losses.items():
        assert isinstance(loss, DistillationLoss)
        for name, optimizer in loss.auxiliary_optimizers().items():
            auxiliary[f'{pair}_{name}'] = (pair, name, optimizer)
    return auxiliary


def with_auxiliary(student: OptimWrapper, losses: nn.ModuleDict) -> OptimWrapper:
    """The student's optimiser, with those of its losses where they have some.

    Args:
        student: steps student and adapters.
        losses: by pair.

    Returns: ``student`` itself, or an ``OptimWrapperDict`` with it as 'student'.
    Raises: ConfigError for an optimiser that cannot be built.
    """
    auxiliary = auxiliary_of(losses)
    if not auxiliary:
        return student
    built = {STUDENT: student}
    for key, (pair, name, optimizer) in auxiliary.items():
        cfg = dict(optimizer.optim_wrapper)
        with located(f'model.pairs.{pair}.loss.optim_wrapper'):
            _check_cfg(cfg)
        wrapper = build_optim_wrapper(optimizer.module, cfg)
        if wrapper.clip_grad_kwargs:
            # Its norm is logged under this name, beside the student's.
            wrapper.grad_name += f'_{name}_{statistic_name(pair)}'
        built[key] = wrapper
    return DistillOptimWrapperDict(**built)


def _check_cfg(optim_wrapper: dict[str, Any]) -> None:
    wrapper = str(optim_wrapper.get('type', ''))
    if wrapper.endswith(_MIXED):
        raise ConfigError(
            f"what it steps computes in float32, got '{wrapper}'. Remove it: mixed "
            'precision is for the student, by --amp.',
            key='type',
        )
    if optim_wrapper.get('accumulative_counts', 1) != 1:
        raise ConfigError(
            'it steps with every batch, also where the student accumulates several. '
            'Remove it.',
            key='accumulative_counts',
        )
    cfg = optim_wrapper.get('optimizer')
    kind = cfg.get('type') if isinstance(cfg, Mapping) else None
    if kind is None:
        raise ConfigError(f"needs optimizer=dict(type='SGD', lr=...), got {cfg!r}.")
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise ConfigError(
            f"no '{kind}'. {nearest(kind, OPTIMIZERS.module_dict)}", key='optimizer'
        )


def check_schedules(
    schedules: Any, optim_wrapper: OptimWrapper | OptimWrapperDict
) -> None:
    """Refuse a ``param_scheduler`` by names that are not those of the optimisers.

    Args:
        schedules: as configured; a dict without 'type' goes by name.
        optim_wrapper: what they are for.

    Raises: ConfigError naming the optimisers.
    """
    if not isinstance(schedules, Mapping) or 'type' in schedules:
        return
    if not isinstance(optim_wrapper, OptimWrapperDict):
        raise ConfigError(
            f'param_scheduler goes by optimiser, {list(schedules)}, and there is one '
            "alone, the student's. Write its schedules as a list."
        )
    names = list(optim_wrapper.keys())
    faults = [
        f"There is no optimiser '{name}'. {nearest(str(name), names)}"
        for name in schedules
        if name not in names
    ]
    faults += [
        f"'{name}' has none: add {name}=[] to leave its rate as it is."
        for name in names
        if name not in schedules
    ]
    if faults:
        raise ConfigError(
            f'param_scheduler by optimiser needs an entry for each of {names}. '
            f'{" ".join(faults)} Where a base config has a list, the dict also needs '
            '_delete_=True.'
        )


class DistillOptimWrapperDict(OptimWrapperDict):
    """Optimisers of a student and of what its losses train.

    The host's own leaves it to others to tell its optimisers how far training is; the
    student's asks when gradients of several batches are accumulated.
    """

    def initialize_count_status(
        self, model: nn.Module, cur_iter: int, max_iters: int
    ) -> None:
        """Tell the student's optimiser how far training is."""
        self[STUDENT].initialize_count_status(model, cur_iter, max_iters)


def student_wrapper(
    losses: nn.ModuleDict, optim_wrapper: OptimWrapper | OptimWrapperDict
) -> OptimWrapper:
    """What steps the student.

    Raises: ConfigError if a loss trains something by itself, and its optimiser is not
        there.
    """
    names = [STUDENT, *auxiliary_of(losses)]
    if len(names) == 1 and not isinstance(optim_wrapper, OptimWrapperDict):
        return optim_wrapper
    missing = (
        [name for name in names if name not in optim_wrapper]
        if isinstance(optim_wrapper, OptimWrapperDict)
        else names[1:]
    )
    if missing:
        raise ConfigError(
            f"there is no optimiser '{missing[0]}', by which a loss trains what it "
            "learns by itself. Set runner_type='kd_plugins.DistillRunner', as "
            'configs/_base_/distill.py does, and leave optim_wrapper a single one.'
        )
    return optim_wrapper[STUDENT]


def names_of_auxiliary(losses: nn.ModuleDict) -> list[str]:
    """Parameters and buffers that are trained apart, named as in ``losses``."""
    apart = {
        id(item)
        for _, _, optimizer in auxiliary_of(losses).values()
        for item in (*optimizer.module.parameters(), *optimizer.module.buffers())
    }
    named = [*losses.named_parameters(), *losses.named_buffers()]
    return [name for name, item in named if id(item) in apart]


def step_auxiliary(
    losses: nn.ModuleDict, optim_wrapper: OptimWrapperDict
) -> dict[str, Tensor]:
    """Step down from each auxiliary loss, after the student's own step.

    Args:
        losses: by pair.
        optim_wrapper: with the entries of :func:`with_auxiliary`.

    Returns: '<name>_<pair>' and '<name>_<pair>_<what>', to be logged; of the pair's
        name as :func:`statistic_name` says.
    """
    log_vars: dict[str, Tensor] = {}
    for key, (pair, name, optimizer) in auxiliary_of(losses).items():
        wrapper = optim_wrapper[key]
        for _ in range(optimizer.steps):
            loss, values = optimizer.loss()
            if loss is None:
                break
            wrapper.zero_grad()
            wrapper.backward(wrapper.scale_loss(loss))
            average_over_ranks(optimizer.module)
            wrapper.step()
            log_vars.update(
                {
                    statistic_name(f'{name}_{pair}')
                    + (f'_{what}' if what else ''): value
                    for what, value in values.items()
                }
            )
    return log_vars


def average_over_ranks(module: nn.Module) -> None:
    """Gradients, and running statistics, averaged over the ranks in one message."""
    if get_world_size() == 1:
        return
    tensors = [
        parameter.grad
        for parameter in module.parameters()
        if parameter.requires_grad and parameter.grad is not None
    ]
    tensors += [item for item in module.buffers() if item.is_floating_point()]
    flat = torch.cat([item.detach().flatten() for item in tensors])
    all_reduce(flat, op='mean')
    for item, mean in zip(
        tensors, flat.split([item.numel() for item in tensors]), strict=True
    ):
        item.detach().copy_(mean.view_as(item))
