"""A list of layers is never called: what comes out of it is recorded, call by call."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.recorders import LayerRecorder


class Times(nn.Module):
    """Multiplies the feature, whatever else it reads."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, feature: Tensor, mask: Any = None, size: Any = None) -> Tensor:
        return feature * self.factor


def times(*factors: float) -> nn.ModuleList:
    return nn.ModuleList(Times(factor) for factor in factors)


class Levels(nn.Module):
    """A layer for each level, as the last convolutions of YOLOX's head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = times(2, 3)

    def forward(self, *features: Tensor) -> list[Tensor]:
        return [
            layer(feature) for layer, feature in zip(self.layers, features, strict=True)
        ]


class Tower(nn.Module):
    """Layers that feed one another, called for each level, as those of GFL's head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = times(2, 3, 5)

    def forward(self, *features: Tensor) -> list[Tensor]:
        return [self.run(feature) for feature in features]

    def run(self, feature: Tensor, **options: Any) -> Tensor:
        for layer in self.layers:
            feature = layer(feature, **options)
        return feature


class Towers(nn.Module):
    """A tower for each level, as those of RTMDet's head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([times(2, 3), times(5, 7)])

    def forward(self, *features: Tensor) -> list[Tensor]:
        outputs = []
        for tower, feature in zip(self.layers, features, strict=True):
            for layer in tower:
                feature = layer(feature)
            outputs.append(feature)
        return outputs


class Squares(nn.ModuleList):
    """A list that is called itself."""

    def forward(self, feature: Tensor) -> Tensor:
        return feature**2


class Callable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Squares(times(2, 3))

    def forward(self, *features: Tensor) -> list[Tensor]:
        return [self.layers(feature) for feature in features]


def hooks_of(model: nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks)
        for module in model.modules()
    )


@pytest.mark.parametrize('copy', [False, True])
@pytest.mark.parametrize(
    ('model', 'value', 'expected'),
    [
        (Levels(), 'output', [2, 30]),
        (Levels(), 'input', [1, 10]),
        (Tower(), 'output', [30, 300]),
        (Tower(), 'input', [1, 10]),
        (Towers(), 'output', [6, 350]),
        (Towers(), 'input', [1, 10]),
        (Callable(), 'output', [1, 100]),
        (Callable(), 'input', [1, 10]),
    ],
    ids=lambda item: type(item).__name__ if isinstance(item, nn.Module) else None,
)
def test_what_comes_out_of_a_list_and_what_goes_in(
    model: nn.Module, value: Any, expected: list[float], copy: bool
) -> None:
    features = torch.tensor(1.0), torch.tensor(10.0)
    with LayerRecorder('layers', copy, value).attach(model) as record:
        for calls in (1, 2):
            outputs = model(*features)
            assert [item.item() for item in record.outputs] == calls * expected
    assert len(record.versions) == len(record.outputs) and not record.overwritten
    assert hooks_of(model) == 0
    both = features if value == 'input' else outputs
    same = [kept is item for kept, item in zip(record.outputs[2:], both, strict=True)]
    assert same == [not copy] * 2


def test_outputs_do_not_care_what_else_the_layers_read() -> None:
    model = Tower()
    with LayerRecorder('layers').attach(model) as record:
        model.run(torch.tensor(1.0), mask=None, size=(1, 1))
    assert [item.item() for item in record.outputs] == [30]


def test_a_tower_that_writes_in_place_is_copied_in_time() -> None:
    model = Tower()
    with LayerRecorder('layers').attach(model) as plain:
        model(torch.tensor(1.0))[0].add_(1)
    with LayerRecorder('layers', copy=True).attach(model) as copied:
        model(torch.tensor(1.0))[0].add_(1)
    assert plain.overwritten and plain.outputs[0].item() == 31
    assert not copied.overwritten and copied.outputs[0].item() == 30
