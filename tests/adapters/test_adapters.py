"""Adapters bring a student's features to the teacher's shape, and learn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from kd_plugins.adapters import (
    ConvAdapter,
    LinearAdapter,
    ResizeAdapter,
    resize_map,
)
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.registry import ADAPTERS


@pytest.mark.parametrize('name', ['ConvAdapter', 'LinearAdapter', 'ResizeAdapter'])
def test_registered_by_name(name: str) -> None:
    kind = ADAPTERS.get(name)
    assert issubclass(kind, nn.Module)
    assert kind.__name__ == name


# Values


def test_one_by_one_convolution_mixes_channels_pixel_by_pixel() -> None:
    adapter = ConvAdapter(student_channels=2, teacher_channels=3)
    feature = torch.randn(2, 2, 4, 5)
    matrix = adapter.conv.weight[:, :, 0, 0]
    expected = torch.einsum('tc,nchw->nthw', matrix, feature)
    expected = expected + adapter.conv.bias.view(1, 3, 1, 1)  # type: ignore[union-attr]
    assert_close(adapter(feature), expected)


@pytest.mark.parametrize('kernel_size', [1, 3])
@pytest.mark.parametrize('size', [None, (4, 6), (8, 12), (3, 5)])
def test_conv_adapter_gives_the_teachers_shape(
    kernel_size: int, size: tuple[int, int] | None
) -> None:
    adapter = ConvAdapter(2, 7, kernel_size=kernel_size)
    feature = torch.randn(2, 2, 4, 6)
    adapted = adapter(feature, size)
    assert adapted.shape == (2, 7, *(size or (4, 6)))
    assert_close(adapted, resize_map(adapter.conv(feature), size))


def test_a_relu_comes_last() -> None:
    adapter = ConvAdapter(2, 3, norm=True, relu=True)
    plain = ConvAdapter(2, 3, norm=True)
    plain.load_state_dict(adapter.state_dict())
    feature = torch.randn(2, 2, 4, 4)
    expected = plain(feature)
    assert expected.min() < 0
    assert torch.equal(adapter(feature), expected.clamp(min=0))


def test_norm_follows_a_convolution_without_bias() -> None:
    adapter = ConvAdapter(2, 3, norm=True)
    feature = 5 + 3 * torch.randn(4, 2, 6, 6)
    adapted = adapter(feature)
    assert adapter.conv.bias is None
    expected = F.batch_norm(adapter.conv(feature), None, None, training=True)
    assert_close(adapted, expected)
    assert_close(adapted.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    assert_close(adapter(feature, (3, 3)), resize_map(expected, (3, 3)))


def test_three_by_three_looks_at_the_neighbours() -> None:
    adapter = ConvAdapter(1, 1, kernel_size=3)
    with torch.no_grad():
        adapter.conv.weight.fill_(1.0)
        adapter.conv.bias.zero_()  # type: ignore[union-attr]
    dot = torch.zeros(1, 1, 5, 5)
    dot[0, 0, 2, 2] = 1.0
    assert adapter(dot).sum() == 9
    assert adapter(dot)[0, 0, 0, 0] == 0


def test_halving_a_map_averages_two_by_two() -> None:
    feature = torch.arange(16.0).view(1, 1, 4, 4)
    expected = F.avg_pool2d(feature, 2)  # bilinear without aligned corners
    assert_close(ResizeAdapter()(feature, (2, 2)), expected)


def test_resizing_keeps_constants_and_the_size_it_has() -> None:
    feature = torch.randn(2, 3, 1, 1).expand(2, 3, 5, 7)
    resized = ResizeAdapter()(feature, (9, 4))
    assert_close(resized, feature[:, :, :1, :1].expand(2, 3, 9, 4))
    assert ResizeAdapter()(feature, (5, 7)) is feature
    assert ResizeAdapter()(feature) is feature


def test_linear_adapter_mixes_channels() -> None:
    adapter = LinearAdapter(student_channels=2, teacher_channels=3)
    feature = torch.randn(5, 2)
    expected = feature @ adapter.linear.weight.T + adapter.linear.bias
    assert_close(adapter(feature), expected)
    assert_close(adapter(feature, None), expected)


# Learning


@pytest.mark.parametrize(
    ('adapter', 'shape', 'size'),
    [
        (ConvAdapter(2, 3), (2, 2, 4, 4), (6, 6)),
        (ConvAdapter(2, 2, kernel_size=3), (2, 2, 4, 4), (2, 2)),
        (ConvAdapter(2, 3, norm=True), (2, 2, 4, 4), (6, 6)),
        (LinearAdapter(2, 3), (4, 2), None),
    ],
)
@pytest.mark.parametrize('empty', [False, True])
def test_gradients_reach_the_student_and_every_parameter(
    adapter: nn.Module,
    shape: tuple[int, ...],
    size: tuple[int, int] | None,
    empty: bool,
) -> None:
    adapter.zero_grad()
    shape = (0, *shape[1:]) if empty else shape
    feature = torch.randn(shape, requires_grad=True)
    torch.autograd.backward([adapter(feature, size).square().sum()])
    assert feature.grad is not None
    assert feature.grad.shape == shape
    for parameter in adapter.parameters():
        assert parameter.grad is not None  # DDP waits for every one
        assert bool(parameter.grad.any()) is not empty


def test_what_is_learned_is_what_is_saved() -> None:
    assert set(ConvAdapter(2, 3).state_dict()) == {'conv.weight', 'conv.bias'}
    assert set(LinearAdapter(2, 3).state_dict()) == {'linear.weight', 'linear.bias'}
    assert not ResizeAdapter().state_dict()
    parameters = dict(ConvAdapter(2, 3, norm=True).named_parameters())
    assert set(parameters) == {'conv.weight', 'norm.weight', 'norm.bias'}


def test_initialised_as_torch_does_from_the_current_stream() -> None:
    torch.manual_seed(7)
    expected = nn.Conv2d(2, 3, 3, padding=1)
    torch.manual_seed(7)
    adapter = ConvAdapter(2, 3, kernel_size=3)
    assert torch.equal(adapter.conv.weight, expected.weight)
    assert torch.equal(adapter.conv.bias, expected.bias)  # type: ignore[arg-type]


def test_runs_under_autocast() -> None:
    feature = torch.randn(2, 2, 4, 4)
    adapter = ConvAdapter(2, 3)
    expected = adapter(feature, (6, 6))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        coarse = adapter(feature, (6, 6))
    assert_close(coarse.float(), expected, rtol=2e-2, atol=2e-2)


# Bad input


@pytest.mark.parametrize('kind', [ConvAdapter, LinearAdapter])
@pytest.mark.parametrize('channels', [0, -1, 2.0, True, None])
def test_impossible_channels_are_refused(
    kind: type[ConvAdapter] | type[LinearAdapter], channels: int
) -> None:
    with pytest.raises(ConfigError, match='student_channels must be a whole number'):
        kind(student_channels=channels, teacher_channels=3)
    with pytest.raises(ConfigError, match='teacher_channels must be a whole number'):
        kind(student_channels=3, teacher_channels=channels)


@pytest.mark.parametrize('kernel_size', [0, 2, 5])
def test_other_kernels_are_refused(kernel_size: int) -> None:
    with pytest.raises(ConfigError, match=f'must be 1 or 3, got {kernel_size}'):
        ConvAdapter(2, 3, kernel_size=kernel_size)


@pytest.mark.parametrize(
    ('shape', 'remedy'),
    [
        ((2, 4, 3, 3), 'Change student_channels=5'),
        ((2, 5), "For rows use type='LinearAdapter'"),
    ],
)
def test_conv_adapter_refuses_other_features(
    shape: tuple[int, ...], remedy: str
) -> None:
    message = rf'expects \(N, 5, H, W\), got \(2, .*{remedy}'
    with pytest.raises(ShapeError, match=message):
        ConvAdapter(5, 3)(torch.zeros(shape))


@pytest.mark.parametrize('shape', [(2, 4), (2, 5, 7, 7)])
def test_linear_adapter_refuses_other_features(shape: tuple[int, ...]) -> None:
    message = r"expects \(R, 5\), got \(2, .*for maps type='ConvAdapter'"
    with pytest.raises(ShapeError, match=message):
        LinearAdapter(5, 3)(torch.zeros(shape))


def test_resize_adapter_refuses_vectors() -> None:
    with pytest.raises(ShapeError, match=r'must be \(N, C, H, W\), got \(2, 3\)'):
        ResizeAdapter()(torch.zeros(2, 3), (4, 4))


def test_without_resize_another_size_is_refused() -> None:
    adapter = ConvAdapter(2, 3, resize=False)
    feature = torch.zeros(1, 2, 4, 4)
    assert adapter(feature, (4, 4)).shape == (1, 3, 4, 4)
    assert adapter(feature).shape == (1, 3, 4, 4)
    with pytest.raises(ShapeError, match=r'\(4, 4\) and .*\(8, 8\)\. Set resize=True'):
        adapter(feature, (8, 8))
