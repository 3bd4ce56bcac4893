"""Gradients in shards, clipped by the norm that they have together."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, distributed
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy

from .optimizer import ClipApart


class ClipShards:
    """Stands in for the ``_clip_grad`` of an optimiser wrapper, on the instance.

    mmengine's clips by the norm of what one process holds: each would scale its shard
    by another factor. Here all processes exchange the norm, those without a shard too.

    Args:
        wrapper: of parameters in shards, with options to clip by.
        model: that is sharded.
    """

    def __init__(self, wrapper: OptimWrapper, model: FullyShardedDataParallel) -> None:
        self._wrapper = wrapper
        self._apart: Any = getattr(wrapper, '_clip_grad', None)
        self._group = model.process_group
        self._whole = model.sharding_strategy == ShardingStrategy.NO_SHARD

    def __call__(self) -> None:
        """Clip the student's gradients, then ours."""
        for gradients, function, options, key in self._parts():
            if function is torch.nn.utils.clip_grad_value_:  # number by number
                for gradient in gradients:
                    gradient.clamp_(-options['clip_value'], options['clip_value'])
                continue
            norm = self._norm(gradients, float(options.get('norm_type', 2.0)))
            factor = (options['max_norm'] / (norm + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factor.to(gradient.device))
            self._wrapper.message_hub.update_scalar(f'train/{key}', float(norm))

    def _parts(self) -> Iterator[tuple[list[Tensor], Any, dict[str, Any], str]]:
        wrapper, apart = self._wrapper, self._apart
        groups = wrapper.optimizer.param_groups
        student = (
            getattr(wrapper, 'clip_func', None),
            wrapper.clip_grad_kwargs,
            'grad_norm',
        )
        if not isinstance(apart, ClipApart):
            yield _gradients(groups), *student
            return
        if apart.student_options:
            yield _gradients(groups[: apart.own_group]), *student
        if apart.own_options:
            own = _gradients(groups[apart.own_group :])
            yield own, apart.clip_own, apart.own_options, 'grad_norm_adapters'

    def _norm(self, gradients: list[Tensor], order: float) -> Tensor:
        """Over all shards, on the device of the gradients."""
        device = next(
            each.device
            for group in self._wrapper.optimizer.param_groups
            for each in group['params']
        )
        norms = [each.float().norm(order) for each in gradients]
        together = torch.stack(norms) if norms else torch.zeros(1, device=device)
        if math.isinf(order):
            total, operation = together.max(), distributed.ReduceOp.MAX
        else:
            total, operation = together.pow(order).sum(), distributed.ReduceOp.SUM
        if not self._whole:
            distributed.all_reduce(total, op=operation, group=self._group)
        return total if math.isinf(order) else total.pow(1 / order)


def _gradients(groups: list[dict[str, Any]]) -> list[Tensor]:
    """Those that this process has a part of."""
    return [
        parameter.grad
        for group in groups
        for parameter in group['params']
        if parameter.grad is not None and parameter.grad.numel()
    ]
