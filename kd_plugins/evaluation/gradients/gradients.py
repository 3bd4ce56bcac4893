"""Gradients of the task and of each pair, on one batch, without side effects."""

import copy
import math
from contextlib import nullcontext
from types import FunctionType, MethodType

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks.hook import DATA_BATCH
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from ...distillers import Distiller
from ...distillers.auxiliary import student_wrapper
from ...distillers.pair import Pair
from ...errors import ConfigError
from ...random_stream import get_random_state, set_random_state
from ...schedules import GradientShare
from .shares import BACKBONE, HEADS, WHOLE, GradientShares, PairGradient

_UNMEASURED = (
    'shares of gradients cannot be measured. Give each pair a number as loss_weight, '
    'not a GradientShare, and GradientSharesHook no interval.'
)


def gradient_shares(
    distiller: Distiller,
    data: DATA_BATCH,
    *,
    optim_wrapper: OptimWrapper | OptimWrapperDict | None = None,
) -> GradientShares:
    """Loss and gradient of the task and of every pair, at the current weights.

    A copy of the distiller computes them, in its current mode, with the random numbers
    of its next step. The distiller, the random states and the batch stay the same. It
    costs one forward pass, a backward pass for each term, and memory for a second
    student. All processes must call it; each gets the shares of its batch.

    Args:
        distiller: not wrapped for distributed training.
        data: a batch of the host's loader.
        optim_wrapper: of the training, for its precision; None: the model's precision.

    Returns: the shares; see :class:`GradientShares` for the parameters that count. A
        pair of weight 0 is measured at weight 1, and so is one whose ``GradientShare``
        has no weight yet.
    Raises: ConfigError for a model that cannot be copied.
    """
    state = get_random_state()
    try:
        return _measure(distiller, data, optim_wrapper)
    finally:
        set_random_state(state)


def _measure(
    distiller: Distiller,
    data: DATA_BATCH,
    optim_wrapper: OptimWrapper | OptimWrapperDict | None,
) -> GradientShares:
    model, data = _copied(distiller), copy.deepcopy(data)
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
    gradients_by_pair = {}
    for name, pair in pairs.items():
        weight, used = weights[name], pair.loss.loss_weight
        reaches, norms, cosines = gradients.of_pair(values[name])
        gradients_by_pair[name] = PairGradient(
            key=pair.key,
            weight=weight,
            value=values[name].item() / used,
            norms={part: norm / used for part, norm in norms.items()},
            cosines=cosines,
            reaches=reaches,
            alive=norms[WHOLE] != 0,
        )
    return GradientShares(task.item(), gradients.task_norms, gradients_by_pair)


def _copied(distiller: Distiller) -> Distiller:
    try:
        model = copy.deepcopy(distiller)
    except torch.cuda.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:  # as torch and pickle raise them
        message = f'model: it cannot be copied ({error}): {_UNMEASURED}'
        raise ConfigError(message) from error
    restore_forwards(model)
    return model


def restore_forwards(model: Distiller) -> None:
    """Check that the forward of a copy runs the layers of the copy.

    Raises: ConfigError for a layer whose instance has a function as ``forward``: a copy
        of the layer has the same function, which runs the original's layers.
    """
    for name, module in model.student.named_modules():
        forward = vars(module).get('forward')
        if not isinstance(forward, FunctionType):
            continue
        # The host's `activation_checkpointing`; the result is the same without it.
        if not isinstance(getattr(forward, '__wrapped__', None), MethodType):
            raise ConfigError(
                f"model.student: the forward of '{name}' ({type(module).__name__}) was "
                f'replaced on the instance, and cannot be copied: {_UNMEASURED}'
            )
        del module.forward


def _fix_weight(pair: Pair, model: Distiller) -> float:
    """The current weight; the copied pair computes with it, or with 1 for 0."""
    schedule = pair.schedule
    if isinstance(schedule, GradientShare) and schedule.lacks_weight(model.clock):
        pair.loss.loss_weight = 0.0
    else:
        pair.set_weight(model.clock)
    pair.schedule = None
    weight = pair.loss.loss_weight
    pair.loss.loss_weight = weight or 1.0
    # In training a pair without gradient is an error; here it gets a verdict.
    pair.check = False
    return weight


class _Gradients:
    """Backward passes of each term through the same graph.

    Args:
        model: a copy, whose gradients are overwritten.
        task: sum of the task's losses.
        wrapper: the student's, for the scale of its loss scaler, if it has one.
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
        backbone = torch.tensor([name.startswith(f'{BACKBONE}.') for name, _ in named])
        whole = torch.ones_like(backbone)
        self._parts = {BACKBONE: backbone, HEADS: ~backbone, WHOLE: whole}
        # As in training: small gradients would be 0 in float16.
        scaler = getattr(wrapper, 'loss_scaler', None)
        self._scale = 1.0 if scaler is None else float(scaler.get_scale())
        self._anchor = 0 * task if get_world_size() > 1 else None
        self._task = self._backward(task)
        self.task_norms = self._norms(self._task)

    def of_pair(self, value: Tensor) -> tuple[bool, dict[str, float], dict[str, float]]:
        """Whether a pair reaches the student; norms, and cosines with the task's."""
        if self._anchor is not None:
            # Synchronised batch norms wait for all ranks in a backward pass. The anchor
            # makes it pass the same layers on each rank, even without rows.
            value = value + self._anchor
        gradients = self._backward(value)
        reaches = any(gradient is not None for gradient in gradients)
        norms, cosines = self._norms(gradients), {}
        for part, dot in self._sums(gradients, self._task).items():
            product = norms[part] * self.task_norms[part]
            cosine = dot / product if product else math.nan
            cosines[part] = max(min(cosine, 1.0), -1.0)  # of a NaN: NaN
        return reaches, norms, cosines

    def _backward(self, value: Tensor) -> list[Tensor | None]:
        """Gradients by the scaler's scale, or by a smaller one where that overflows."""
        scale = self._scale
        while True:
            # Not `autograd.grad`, which activation checkpointing refuses.
            self._model.zero_grad(set_to_none=True)
            if value.requires_grad:
                (scale * value).backward(retain_graph=True)
            gradients = [parameter.grad for parameter in self._parameters]
            if scale <= 1 or self._are_finite(gradients):
                break
            scale /= 16  # the scaler would pass over the step, and halve it
        if scale == 1:
            return gradients
        return [None if each is None else each.float() / scale for each in gradients]

    def _are_finite(self, gradients: list[Tensor | None]) -> bool:
        """Whether they are, on all ranks, which go on together."""
        device = self._parameters[0].device
        finite = torch.ones((), device=device)
        for each in gradients:
            if each is not None:
                finite *= each.isfinite().all()
        all_reduce(finite, op='min')
        return bool(finite)

    def _norms(self, gradients: list[Tensor | None]) -> dict[str, float]:
        squares = self._sums(gradients, gradients)
        return {part: math.sqrt(dot) for part, dot in squares.items()}

    def _sums(
        self, first: list[Tensor | None], second: list[Tensor | None]
    ) -> dict[str, float]:
        """Inner products, by part of the student."""
        products = [
            parameter.new_zeros((), dtype=torch.float32)
            if left is None or right is None
            else (left.float() * right.float()).sum()
            for parameter, left, right in zip(
                self._parameters, first, second, strict=True
            )
        ]
        # A single copy from the device.
        dots = torch.stack(products).cpu().double()
        return {part: float(dots[mask].sum()) for part, mask in self._parts.items()}
