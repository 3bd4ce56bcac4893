"""How sharp the minimum is that a training found: the Hessian of its loss."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import check_float, check_int
from ..errors import ConfigError


@dataclass(frozen=True)
class Curvature:
    """Of a loss over some parameters, at their values.

    A rescaling of weights that changes no prediction changes these: compare models of
    one architecture only, and look at ``weight_norm``.

    Attributes:
        loss: its value.
        trace: of the Hessian, the sum of its eigenvalues, estimated.
        trace_error: standard error of that estimate; nan of a single probe.
        eigenvalue: the one of the largest magnitude, with its sign.
        iterations: of the power iteration that found it.
        converged: whether the last iteration changed it by less than the tolerance.
        parameters: how many numbers the Hessian is of.
        weight_norm: L2 norm of all of them.
    """

    loss: float
    trace: float
    trace_error: float
    eigenvalue: float
    iterations: int
    converged: bool
    parameters: int
    weight_norm: float


def measure_curvature(
    losses: Sequence[Callable[[], Tensor]],
    parameters: Sequence[Tensor],
    *,
    probes: int = 30,
    iterations: int = 20,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> Curvature:
    r"""Trace and largest eigenvalue of the Hessian of a mean of losses.

    The trace by Hutchinson's estimate, the mean of :math:`v^T H v` over probes
    :math:`v` of :math:`\pm 1`; the eigenvalue by power iteration. Both need products
    of the Hessian with a vector alone, each a forward and two backward passes.

    Args:
        losses: one for each batch; each gives a scalar, the same whenever it is called.
        parameters: leaves that require a gradient, of one dtype and device; what
            others there are is constant.
        probes: for the trace, >= 1.
        iterations: for the eigenvalue at most, >= 1.
        tolerance: > 0, relative change of the eigenvalue at which it is found.
        seed: of the probes, and of where the power iteration starts.

    Raises: ConfigError for numbers that mean nothing, without a batch or a parameter,
        and where an operator between parameters and loss has no second derivative.
    Source: Pham et al., Revisiting Self-Distillation, 2022,
        https://arxiv.org/abs/2206.08491, who compare minima so. Hutchinson, A
        stochastic estimator of the trace of the influence matrix, 1989.
    """
    check_int('probes', probes)
    check_int('iterations', iterations)
    check_int('seed', seed, minimum=0)
    check_float('tolerance', tolerance, strict=True)
    if not losses or not parameters:
        raise ConfigError('curvature needs a batch and a parameter at least, got none.')
    generator = torch.Generator().manual_seed(seed)
    weights = torch.cat([each.detach().flatten() for each in parameters])

    estimates = []
    for _ in range(probes):
        probe = torch.randint(2, weights.shape, generator=generator) * 2 - 1
        vector = probe.to(weights)
        estimates.append(float(vector @ hessian_product(losses, parameters, vector)))
    trace = sum(estimates) / probes
    deviations = sum((each - trace) ** 2 for each in estimates)
    error = math.sqrt(deviations / (probes - 1) / probes) if probes > 1 else math.nan

    vector = torch.randn(weights.shape, generator=generator).to(weights)
    eigenvalue, converged, done = 0.0, False, 0
    while not converged and done < iterations:
        vector = vector / vector.norm()
        product = hessian_product(losses, parameters, vector)
        before, eigenvalue = eigenvalue, float(vector @ product)
        done += 1
        # The first has nothing before it, but for a Hessian of zeros.
        change = abs(eigenvalue - before)
        converged = change <= tolerance * abs(eigenvalue) and (
            done > 1 or not product.any()
        )
        vector = product

    with torch.no_grad():
        loss = sum(float(each()) for each in losses) / len(losses)
    return Curvature(
        loss,
        trace,
        error,
        eigenvalue,
        done,
        converged,
        weights.numel(),
        float(weights.norm()),
    )


def hessian_product(
    losses: Sequence[Callable[[], Tensor]],
    parameters: Sequence[Tensor],
    vector: Tensor,
) -> Tensor:
    """The Hessian of the mean of losses, times a vector; exact.

    Args:
        losses, parameters: of :func:`measure_curvature`.
        vector: shape (P,), of all parameters in order.

    Returns: shape (P,).
    Raises: ConfigError where an operator has no second derivative.
    """
    total = torch.zeros_like(vector)
    for loss in losses:
        gradients = torch.autograd.grad(
            loss(), parameters, create_graph=True, materialize_grads=True
        )
        slope = torch.cat([each.flatten() for each in gradients]) @ vector
        if not slope.requires_grad:
            continue  # a loss without curvature
        with _second_derivatives(slope):
            products = torch.autograd.grad(slope, parameters, materialize_grads=True)
        total += torch.cat([each.flatten() for each in products])
    return total / len(losses)


@contextmanager
def _second_derivatives(slope: Tensor) -> Iterator[None]:
    """Refuse operators that have none."""
    refused = ConfigError(
        'an operator between these parameters and the loss, such as RoIAlign, has no '
        'second derivative. Choose parameters behind it: of a two-stage detector '
        "'roi_head.bbox_head.*'.",
        key='--parameters',
    )
    # What is marked @once_differentiable raises only where its node is reached; on the
    # way to given parameters it is left out, and the product would be wrong.
    if any(node.name() == 'torch::autograd::Error' for node in _graph(slope)):
        raise refused
    try:
        yield
    except RuntimeError as error:
        if 'double backward' in str(error):  # torchvision's
            raise refused from None
        raise


def _graph(tensor: Tensor) -> Iterator[Any]:
    """Nodes that a tensor was computed by."""
    seen: set[Any] = set()
    waiting: list[Any] = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting.extend(before for before, _ in node.next_functions)
        yield node
