"""What losses train by themselves: its optimisers, and its steps."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn

from ..errors import ConfigError, nearest
from ..losses import DistillationLoss, ExtraOptimizer

STUDENT = 'student'


def extras_of(losses: nn.ModuleDict) -> dict[str, tuple[str, str, ExtraOptimizer]]:
    """Pair, name and what is trained, by the name of its optimiser: '<pair>_<name>'."""
    found = {}
    for pair, loss in losses.items():
        assert isinstance(loss, DistillationLoss)
        for name, extra in loss.extra_optimizers().items():
            found[f'{pair}_{name}'] = (pair, name, extra)
    return found


def with_extras(student: OptimWrapper, losses: nn.ModuleDict) -> OptimWrapper:
    """The student's optimiser, with those of its losses where they have some.

    Args:
        student: steps student and adapters.
        losses: by pair.

    Returns: ``student`` itself, or an ``OptimWrapperDict`` with it as 'student'.
    Raises: ConfigError for an optimiser that cannot be built.
    """
    extras = extras_of(losses)
    if not extras:
        return student
    built = {STUDENT: student}
    for key, (pair, _, extra) in extras.items():
        cfg = dict(extra.optim_wrapper)
        # Of as many batches as a step of the student, unless it says otherwise.
        cfg.setdefault('accumulative_counts', student._accumulative_counts)
        _check_optimizer(cfg.get('optimizer'), f'model.pairs.{pair}.loss.optim_wrapper')
        built[key] = build_optim_wrapper(extra.module, cfg)
    steps = {key: extra.steps for key, (_, _, extra) in extras.items()}
    return DistillOptimWrapperDict(steps, built)


def _check_optimizer(cfg: Any, where: str) -> None:
    kind = cfg.get('type') if isinstance(cfg, Mapping) else None
    if kind is None:
        raise ConfigError(
            f"{where} needs optimizer=dict(type='SGD', lr=...), got {cfg!r}."
        )
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise ConfigError(
            f"{where}.optimizer: no '{kind}'. {nearest(kind, OPTIMIZERS.module_dict)}"
        )


class DistillOptimWrapperDict(OptimWrapperDict):
    """Optimisers of a student and of what its losses train.

    The host's own leaves it to others to tell its optimisers how far training is; they
    ask when gradients of several batches are accumulated.

    Args:
        steps: of each but 'student', for one step of the student.
        wrappers: by name.
    """

    def __init__(
        self, steps: Mapping[str, int], wrappers: Mapping[str, OptimWrapper]
    ) -> None:
        super().__init__(**wrappers)
        self._steps = dict(steps)

    def initialize_count_status(
        self, model: nn.Module, cur_iter: int, max_iters: int
    ) -> None:
        """Tell every optimiser how far training is."""
        for name, wrapper in self.optim_wrappers.items():
            steps = self._steps.get(name, 1)
            wrapper.initialize_count_status(model, steps * cur_iter, steps * max_iters)


def names_of_extras(losses: nn.ModuleDict) -> list[str]:
    """Parameters and buffers that are trained apart, named as in ``losses``."""
    apart = {
        id(item)
        for _, _, extra in extras_of(losses).values()
        for item in (*extra.module.parameters(), *extra.module.buffers())
    }
    named = [*losses.named_parameters(), *losses.named_buffers()]
    return [name for name, item in named if id(item) in apart]


def step_extras(
    losses: nn.ModuleDict, optim_wrapper: OptimWrapperDict
) -> dict[str, Tensor]:
    """Step down from each extra loss, after the student's own step.

    Args:
        losses: by pair.
        optim_wrapper: with the entries of :func:`with_extras`.

    Returns: '<name>_<pair>' and '<name>_<pair>_<what>', to be logged.
    """
    told: dict[str, Tensor] = {}
    for key, (pair, name, extra) in extras_of(losses).items():
        wrapper = optim_wrapper[key]
        for _ in range(extra.steps):
            loss, values = extra.loss()
            if loss is None:
                break
            wrapper.backward(wrapper.scale_loss(loss))
            if wrapper.should_update():
                average_over_ranks(extra.module)
                wrapper.step()
                wrapper.zero_grad()
            told.update(
                {
                    f'{name}_{pair}' + (f'_{what}' if what else ''): value
                    for what, value in values.items()
                }
            )
    return told


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
