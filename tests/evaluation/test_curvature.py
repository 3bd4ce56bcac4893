"""Trace and largest eigenvalue of a Hessian, against exact ones."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torchvision.ops import roi_align

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.curvature import hessian_product, measure_curvature


def quadratic(*diagonal: float) -> tuple[Callable[[], Tensor], Tensor]:
    point = torch.ones(len(diagonal), dtype=torch.float64, requires_grad=True)
    factors = torch.tensor(diagonal, dtype=torch.float64)
    return lambda: 0.5 * (factors * point**2).sum(), point


def test_a_quadratic_by_hand() -> None:
    """Each probe of +-1 gives the trace of a diagonal, exactly."""
    loss, point = quadratic(1, 2, 5)
    found = measure_curvature([loss], [point], probes=3)
    assert found.loss == 4
    assert found.trace == pytest.approx(8, rel=1e-12)
    assert found.trace_error == pytest.approx(0, abs=1e-12)
    assert found.eigenvalue == pytest.approx(5, rel=1e-3)
    assert found.converged and 1 < found.iterations <= 20
    assert found.parameters == 3
    assert found.weight_norm == pytest.approx(math.sqrt(3))


def test_the_largest_magnitude_counts_with_its_sign() -> None:
    loss, point = quadratic(-4, 1)
    found = measure_curvature([loss], [point])
    assert found.eigenvalue == pytest.approx(-4, rel=1e-3)
    assert found.trace == pytest.approx(-3)


def test_batches_are_averaged() -> None:
    first, point = quadratic(1, 2)
    second = lambda: 3 * first()  # noqa: E731
    found = measure_curvature([first, second], [point], probes=1)
    assert found.trace == pytest.approx(6)
    assert found.loss == pytest.approx(3)
    assert math.isnan(found.trace_error)


def network() -> tuple[nn.Module, Callable[[], Tensor]]:
    """A classifier of 27 weights, and its loss on six rows."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3, bias=False))
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    inputs = torch.randn(6, 3, generator=generator).double()
    labels = torch.tensor([0, 1, 2, 0, 1, 1])
    return model, lambda: nn.functional.cross_entropy(model(inputs), labels)


def exact(loss: Callable[[], Tensor], parameters: list[nn.Parameter]) -> Tensor:
    """The whole Hessian by second derivatives, one row after the other."""
    gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    rows = [
        torch.cat(
            [
                part.flatten()
                for part in torch.autograd.grad(
                    each, parameters, retain_graph=True, materialize_grads=True
                )
            ]
        )
        for each in torch.cat([part.flatten() for part in gradients])
    ]
    return torch.stack(rows)


def test_products_are_those_of_the_exact_hessian() -> None:
    model, loss = network()
    parameters = list(model.parameters())
    hessian = exact(loss, parameters)
    vector = torch.arange(28.0, dtype=torch.float64)[: len(hessian)]
    product = hessian_product([loss], parameters, vector)
    torch.testing.assert_close(product, hessian @ vector)


@pytest.mark.parametrize('part', [slice(None), slice(2, None)])
def test_a_network_against_its_exact_hessian(part: slice) -> None:
    model, loss = network()
    parameters = list(model.parameters())[part]
    hessian = exact(loss, parameters)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    found = measure_curvature(
        [loss], parameters, probes=400, iterations=300, tolerance=1e-6
    )
    assert found.converged
    largest = max(eigenvalues.tolist(), key=abs)
    assert found.eigenvalue == pytest.approx(largest, rel=1e-3)
    # Of +-1 probes: twice the squares off the diagonal.
    variance = 2 * (hessian.square().sum() - hessian.diagonal().square().sum())
    expected_error = math.sqrt(float(variance) / 400)
    assert found.trace_error == pytest.approx(expected_error, rel=0.15)
    assert abs(found.trace - float(hessian.trace())) < 3 * expected_error
    assert found.parameters == len(hessian)


def test_a_loss_without_curvature() -> None:
    point = torch.ones(2, requires_grad=True)
    unused = torch.ones(1, requires_grad=True)
    found = measure_curvature([point.sum], [point, unused])
    assert (found.trace, found.eigenvalue) == (0, 0)
    assert found.converged and found.iterations == 1


class Cube(torch.autograd.Function):
    """As mmcv's operators are written."""

    @staticmethod
    def forward(ctx, value):
        ctx.save_for_backward(value)
        return value**3

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (value,) = ctx.saved_tensors
        return 3 * value**2 * gradient


def pooled(point: Tensor) -> Tensor:
    boxes = torch.tensor([[0.0, 0.0, 0.0, 3.0, 3.0]])
    return roi_align(point.expand(1, 1, 4, 4), boxes, 2)


@pytest.mark.parametrize('operator', [Cube.apply, pooled])
def test_an_operator_without_second_derivative_is_refused(
    operator: Callable[[Tensor], Tensor],
) -> None:
    """Even where autograd would leave out its part, and say nothing."""
    point = torch.ones(1, requires_grad=True)
    loss = lambda: operator(point).square().sum() + point.square().sum()  # noqa: E731
    with pytest.raises(ConfigError, match='such as RoIAlign, has no second derivative'):
        measure_curvature([loss], [point])


def test_an_eigenvalue_that_is_not_found_is_said() -> None:
    loss, point = quadratic(1, 2, 5)
    assert not measure_curvature([loss], [point], iterations=1).converged


def test_it_is_the_same_each_time_and_changes_nothing() -> None:
    model, loss = network()
    parameters = list(model.parameters())
    before = [each.detach().clone() for each in parameters]
    state = torch.get_rng_state()
    one, two = (measure_curvature([loss], parameters, probes=2) for _ in range(2))
    assert one == two
    assert measure_curvature([loss], parameters, probes=2, seed=1) != one
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, before, parameters))
    assert all(each.grad is None for each in parameters)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(probes=0), 'probes must be'),
        (dict(iterations=0), 'iterations must be'),
        (dict(tolerance=0.0), 'tolerance must be'),
        (dict(seed=-1), 'seed must be'),
    ],
)
def test_numbers_that_mean_nothing(options: dict[str, float], message: str) -> None:
    loss, point = quadratic(1)
    with pytest.raises(ConfigError, match=message):
        measure_curvature([loss], [point], **options)


def test_nothing_to_measure() -> None:
    loss, _ = quadratic(1)
    with pytest.raises(ConfigError, match='a batch and a parameter at least'):
        measure_curvature([loss], [])
