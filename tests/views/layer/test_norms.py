"""Which batch norm is behind what is recorded of a layer."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.recorders.recorder import Value
from kd_plugins.views.layer.norms import NormRecorder


class Block(nn.Module):
    """A residual block of the hosts: one ReLU in place, and a sum in place."""

    def __init__(self, shortcut_first: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.conv2, self.bn2 = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.downsample = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
        self.relu = nn.ReLU(inplace=True)
        self.shortcut_first = shortcut_first

    def forward(self, feature: Tensor) -> Tensor:
        identity = self.downsample(feature) if self.shortcut_first else None
        out = self.relu(self.bn1(self.conv1(feature)))
        out = self.bn2(self.conv2(out))
        out += self.downsample(feature) if identity is None else identity
        return self.relu(out)


class Unit(nn.Module):
    """Convolution, norm, and an activation or a function."""

    def __init__(self, activate: Any = None) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.activate = activate or nn.Identity()
        self.function = activate

    def forward(self, feature: Tensor) -> Tensor:
        out = self.bn(self.conv(feature))
        return out if self.function is None else self.function(out)


class Dense(nn.Module):
    """The activation first, and unseen."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)

    def forward(self, feature: Tensor) -> Tensor:
        out: Tensor = self.conv(F.relu(self.bn(feature)))
        return out


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.MaxPool2d(1)
        )
        self.block, self.swapped = Block(), Block(shortcut_first=True)
        self.linear, self.relued = Unit(), Unit(nn.ReLU(inplace=True))
        self.functional = Unit()
        self.functional.function = F.relu_
        self.dense = Dense()
        self.early = nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
        self.group = nn.Sequential(nn.GroupNorm(1, 2), nn.ReLU())
        self.flat = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.ReLU())

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        for name, child in self.named_children():
            if name != 'flat':
                feature = child(feature)
        return feature, self.flat(feature)


def found(path: str, value: Value = 'output') -> list[str | None]:
    """Dotted names of the norms, in two passes: what was found stays apart."""
    model = Model().eval()
    names: dict[Any, str | None] = {item: name for name, item in model.named_modules()}
    names[None] = None
    with torch.no_grad(), NormRecorder(path, value).attach(model) as trace:
        model(torch.randn(1, 2, 4, 4))
    before = [names[norm] for norm in trace.found]
    with torch.no_grad(), NormRecorder(path, value).attach(model) as trace:
        for _ in range(2):
            model(torch.randn(1, 2, 4, 4))
    assert [names[norm] for norm in trace.found] == 2 * before
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in model.modules()
    )
    return before


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('block.bn1', 'block.bn1'),
        ('block.downsample', 'block.downsample.1'),
        ('linear', 'linear.bn'),
        # After an activation, or of no batch norm at all.
        ('block', None),
        ('relued', None),
        ('functional', None),
        ('block.conv1', None),
        ('stem', None),
        ('group.0', None),
    ],
)
def test_of_an_output(path: str, expected: str | None) -> None:
    assert found(path) == [expected]


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('block.relu', ['block.bn1', 'block.bn2']),
        ('swapped.relu', ['swapped.bn1', 'swapped.bn2']),
        ('relued.activate', ['relued.bn']),
        ('stem.1', ['stem.0']),
        # Something else came in between, or the layer mixes what it reads.
        ('stem.2', [None]),
        ('flat.2', [None]),
        ('block.conv2', [None]),
        ('dense.conv', [None]),
        ('early.0', [None]),  # in the second pass too
        ('block.bn2', [None]),
        ('block', [None]),
        ('group.1', [None]),
    ],
)
def test_of_an_input(path: str, expected: list[str | None]) -> None:
    assert found(path, 'input') == expected


def test_every_tensor_of_a_layer_has_its_own() -> None:
    # What the model gives is no norm's own: nothing is claimed for either.
    model = nn.Module()
    model.add_module('two', _Two())
    with NormRecorder('two').attach(model) as trace:
        model.get_submodule('two')(torch.randn(2, 2, 4, 4))
    two = model.get_submodule('two')
    assert trace.found == [two.get_submodule('a'), None, two.get_submodule('b')]


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, feature: Tensor) -> list[Tensor]:
        return [self.a(feature), feature, self.b(feature)]
