"""Gradients of the task and of each pair, on one batch, leaving no trace."""

import copy
import math
from contextlib import nullcontext
from types import FunctionType, MethodType
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from ...distillers import Distiller
from ...distillers.auxiliary import student_wrapper
from ...distillers.pair import Pair
from ...errors import ConfigError
from ...random_stream import get_random_state, set_random_state
from .shares import BACKBONE, HEADS, WHOLE, GradientShares, PairGradient


def gradient_shares(
    distiller: Distiller,
    data: Any,
    *,
    optim_wrapper: OptimWrapper | OptimWrapperDict | None = None,
) -> GradientShares:
    """Loss and gradient of the task and of every pair, at the present weights.

    A copy of the distiller computes them, in its present mode, with the random numbers
    that its next step will draw; nothing of the distiller changes, nor the random
    states, nor the batch. It costs one forward pass and a backward pass for each term,
    and memory for a second student. In several processes all of them must call it;
    each gets the shares of its own batch.

    Args:
        distiller: itself, not what distributes it.
        data: a batch of the host's loader.
        optim_wrapper: of the training, whose precision is used; None: the model's own.

    Returns: the shares; see :class:`GradientShares` for the parameters they are taken
        over. A pair whose weight is 0 is measured at weight 1.
    """
    state = get_random_state()
    try:
        return _measure(distiller, data, optim_wrapper)
    finally:
        set_random_state(state)


def _measure(
    distiller: Distiller,
    data: Any,
    optim_wrapper: OptimWrapper | OptimWrapperDict | None,
) -> GradientShares:
    model, data = copy.deepcopy(distiller), copy.deepcopy(data)
    _check_forwards(model)
    pairs = {pair.name: pair for pair in model.pairs}
    weights = {name: _fix_weight(pair, model) for name, pair in pairs.items()}
    wrapper = None
    if optim_wrapper is not None:
        wrapper = student_wrapper(model.losses, optim_wrapper)
    with nullcontext() if wrapper is None else wrapper.optim_context(model):
        losses = model(**model.data_preprocessor(data, True), mode='loss')
    values = {
        name: torch.stack([losses.pop(key) for key in pair.log_keys()]).sum()
        for name, pair in pairs.items()
    }
    task, _ = model.parse_losses(losses)
    gradients = _Gradients(model, task, wrapper)
    found = {}
    for name, pair in pairs.items():
        weight, used = weights[name], pair.loss.loss_weight
        reaches, norms, cosines = gradients.of_pair(values[name])
        found[name] = PairGradient(
            key=pair.key,
            weight=weight,
            value=values[name].item() / used,
            norms={part: norm / used for part, norm in norms.items()},
            cosines=cosines,
            reaches=reaches,
            alive=norms[WHOLE] != 0,
        )
    return GradientShares(task.item(), gradients.task_norms, found)


def _check_forwards(model: Distiller) -> None:
    """See to it that a copy runs its own layers, not the original's.

    Raises: ConfigError for a layer whose instance has a function for its ``forward``:
        that is the same in a copy, with the layers it was made for.
    """
    for name, module in model.student.named_modules():
        forward = vars(module).get('forward')
        if not isinstance(forward, FunctionType):
            continue
        # The host's `activation_checkpointing`: without it, the result is the same.
        if not isinstance(getattr(forward, '__wrapped__', None), MethodType):
            raise ConfigError(
                f"model.student: the forward of '{name}' ({type(module).__name__}) was "
                'replaced on the instance, and cannot be copied: shares of gradients '
                'cannot be measured. Remove GradientSharesHook from custom_hooks.'
            )
        del module.forward


def _fix_weight(pair: Pair, model: Distiller) -> float:
    """Its present weight; the copied pair computes with it, or with 1 where it is 0."""
    pair.set_weight(model.clock)
    pair.schedule = None
    weight = pair.loss.loss_weight
    pair.loss.loss_weight = weight or 1.0
    # In training a pair without gradient is an error; here it gets its verdict.
    pair.check = False
    return weight


class _Gradients:
    """Backward passes from one term after the other, through the same graph.

    Args:
        model: a copy, whose gradients are nobody's.
        task: the task's losses together.
        wrapper: the student's; a scaler of losses in it is asked for its scale.
    """

    def __init__(
        self, model: Distiller, task: Tensor, wrapper: OptimWrapper | None
    ) -> None:
        self._model = model
        named = [
            (name, parameter)
            for name, parameter in model.student.named_parameters()
            if parameter.requires_grad
        ]
        self._parameters = [parameter for _, parameter in named]
        inside = torch.tensor([name.startswith(f'{BACKBONE}.') for name, _ in named])
        everywhere = torch.ones_like(inside)
        self._parts = {BACKBONE: inside, HEADS: ~inside, WHOLE: everywhere}
        # As in training: what is small would be lost in float16.
        scaler = getattr(wrapper, 'loss_scaler', None)
        self._scale = 1.0 if scaler is None else float(scaler.get_scale())
        self._anchor = 0 * task if get_world_size() > 1 else None
        self._task = self._backward(task)
        self.task_norms = self._norms(self._task)

    def of_pair(self, value: Tensor) -> tuple[bool, dict[str, float], dict[str, float]]:
        """Whether a pair reaches the student; norms, and cosines with the task's."""
        if self._anchor is not None:
            # Synchronised batch norms wait for all ranks in a backward pass: on each
            # it leads through the same ones, also where a level or stage had no rows.
            value = value + self._anchor
        found = self._backward(value)
        reaches = any(gradient is not None for gradient in found)
        norms, cosines = self._norms(found), {}
        for part, dot in self._sums(found, self._task).items():
            product = norms[part] * self.task_norms[part]
            cosine = dot / product if product else math.nan
            cosines[part] = max(min(cosine, 1.0), -1.0)  # of a NaN: NaN
        return reaches, norms, cosines

    def _backward(self, value: Tensor) -> list[Tensor | None]:
        # Not `autograd.grad`, which activation checkpointing refuses.
        self._model.zero_grad(set_to_none=True)
        if value.requires_grad:
            (self._scale * value).backward(retain_graph=True)
        return [parameter.grad for parameter in self._parameters]

    def _norms(self, found: list[Tensor | None]) -> dict[str, float]:
        return {part: math.sqrt(dot) for part, dot in self._sums(found, found).items()}

    def _sums(
        self, one: list[Tensor | None], other: list[Tensor | None]
    ) -> dict[str, float]:
        """Inner products, by part of the student."""
        products = [
            parameter.new_zeros((), dtype=torch.float32)
            if mine is None or yours is None
            else (mine.float() * yours.float()).sum()
            for parameter, mine, yours in zip(self._parameters, one, other, strict=True)
        ]
        # One copy from the device for all of them.
        found = torch.stack(products).cpu().double() / self._scale**2
        return {part: float(found[which].sum()) for part, which in self._parts.items()}
