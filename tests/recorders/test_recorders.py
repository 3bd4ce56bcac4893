"""Layers are found by name, and recorded for one pass only."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.recorders import LayerRecorder, find_layer, record_method
from kd_plugins.recorders.recorder import tensors_in


class Block(nn.Module):
    def __init__(self, with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.conv = nn.Conv2d(1, 1, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, feature: Tensor) -> Tensor:
        return self.relu(self.conv(feature))


class Backbone(nn.Module):
    def __init__(self, with_cp: bool = False) -> None:
        super().__init__()
        self.with_cp = with_cp  # as in the host: only handed on
        self.layer1 = nn.Sequential(Block(with_cp))


def test_unknown_layer_names_the_nearest() -> None:
    message = r"^Backbone has no layer 'layer1.0.cnv'. Close: 'layer1.0.conv'"
    with pytest.raises(ConfigError, match=message):
        find_layer(Backbone(), 'layer1.0.cnv')


def test_empty_path_is_no_layer() -> None:
    with pytest.raises(ConfigError, match="has no layer ''"):
        find_layer(Backbone(), '')


def test_layers_inside_checkpointed_blocks_are_refused_and_only_these() -> None:
    backbone = Backbone(with_cp=True)
    assert find_layer(backbone, 'layer1') is backbone.layer1
    assert find_layer(backbone, 'layer1.0') is backbone.layer1[0]
    message = r"^'layer1.0.conv' lies inside 'layer1.0'.*with_cp=True.*Record"
    with pytest.raises(ConfigError, match=message):
        find_layer(backbone, 'layer1.0.conv')


def test_records_every_call_and_detaches() -> None:
    conv = nn.Conv2d(1, 1, 1)
    with LayerRecorder('').attach(conv) as record:
        conv(torch.zeros(1, 1, 4, 4))
        conv(torch.zeros(1, 1, 2, 2))
    conv(torch.zeros(1, 1, 1, 1))
    assert [item.shape[-1] for item in record.outputs] == [4, 2]
    assert not conv._forward_hooks


def test_detaches_after_an_error() -> None:
    conv = nn.Conv2d(1, 1, 1)
    with pytest.raises(RuntimeError), LayerRecorder('').attach(conv):
        conv(torch.zeros(1, 5, 4, 4))
    assert not conv._forward_hooks


class Several(nn.Module):
    def forward(self, output: Any) -> Any:
        return output


def test_flattens_tuples_lists_and_dicts() -> None:
    layer, (a, b, c) = Several(), torch.zeros(3, 1)
    with LayerRecorder('').attach(layer) as record:
        layer((a, [b, {'c': c}]))
    assert [item.data_ptr() for item in record.outputs] == [
        item.data_ptr() for item in (a, b, c)
    ]


def test_output_without_tensors_is_an_error() -> None:
    model = nn.ModuleDict(dict(head=Several()))
    message = "layer 'head' returns str; expected a tensor.*Choose another layer"
    with (
        LayerRecorder('head').attach(model),
        pytest.raises(DistillationError, match=message),
    ):
        model['head']('text')


@pytest.mark.parametrize('gradient', [True, False])
def test_in_place_relu_overwrites_unless_copied(gradient: bool) -> None:
    block = Block(with_cp=False)
    nn.init.constant_(block.conv.weight, -1.0)
    nn.init.zeros_(block.conv.bias)
    with torch.set_grad_enabled(gradient):
        with LayerRecorder('conv').attach(block) as plain:
            block(torch.ones(1, 1, 1, 1))
        with LayerRecorder('conv', copy=True).attach(block) as copied:
            block(torch.ones(1, 1, 1, 1))
    assert plain.overwritten and plain.outputs[0].item() == 0
    assert not copied.overwritten and copied.outputs[0].item() == -1


@pytest.mark.parametrize('gradient', [True, False])
def test_input_is_what_it_was_before_the_layer_wrote_into_it(gradient: bool) -> None:
    block = Block(with_cp=False)
    nn.init.constant_(block.conv.weight, -1.0)
    nn.init.zeros_(block.conv.bias)
    with torch.set_grad_enabled(gradient):
        with LayerRecorder('relu', value='input').attach(block) as plain:
            block(torch.ones(1, 1, 1, 1))
        recorder = LayerRecorder('relu', copy=True, value='input')
        with recorder.attach(block) as copied:
            block(torch.ones(1, 1, 1, 1))
    assert plain.overwritten and plain.outputs[0].item() == 0
    assert not copied.overwritten and copied.outputs[0].item() == -1
    assert copied.outputs[0].requires_grad is gradient
    assert not block.relu._forward_pre_hooks
    block.relu.inplace = False
    with LayerRecorder('relu', value='input').attach(block) as plain:
        block(torch.ones(1, 1, 1, 1))
    assert not plain.overwritten and plain.outputs[0].item() == -1


class Sum(nn.Module):
    def forward(self, first: Tensor, others: list[Tensor], *, factor: Any) -> Tensor:
        return first + sum(others) * factor


def test_inputs_by_position_and_by_name() -> None:
    layer, (a, b, c, d) = Sum(), torch.arange(4.0)
    recorder, model = LayerRecorder('layer', value='input'), nn.Module()
    model.layer = layer
    with recorder.attach(model) as record:
        layer(a, [b, c], factor=d)
    assert [item.item() for item in record.outputs] == [0, 1, 2, 3]
    message = "layer 'layer' reads float; expected a tensor.*Choose another layer"
    with (
        recorder.attach(model),
        pytest.raises(DistillationError, match=message),
    ):
        layer(a, [b, c], factor=0.5)


class Greeter:
    def greet(self, name: str, mark: str = '.') -> str:
        return f'hello {name}{mark}'


def test_recorded_method_shows_arguments_and_result_and_is_undone() -> None:
    greeter, other, seen = Greeter(), Greeter(), []
    with record_method(
        greeter, 'greet', lambda args, result: seen.append((args, result))
    ):
        assert greeter.greet('you', mark='!') == 'hello you!'
        other.greet('me')
    assert seen == [(('you',), 'hello you!')]
    assert 'greet' not in vars(greeter)


def test_a_method_recorded_twice_is_put_back_in_turn() -> None:
    greeter, seen = Greeter(), []
    with record_method(greeter, 'greet', lambda *_: seen.append('outer')):
        with record_method(greeter, 'greet', lambda *_: seen.append('inner')):
            greeter.greet('you')
        greeter.greet('you')
    assert seen == ['outer', 'inner', 'outer']


def test_tensors_are_found_in_whatever_holds_them() -> None:
    one, two, three = torch.zeros(3, 1).unbind()
    item = (dict(a=one, b='no tensor'), [two, (three, None)])
    assert all(
        found is expected
        for found, expected in zip(tensors_in(item), (one, two, three), strict=True)
    )
