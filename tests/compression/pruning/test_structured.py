"""Whole channels go, until a budget is met; what is left is a config and weights."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch.testing import assert_close

from kd_plugins.compression.pruning import (
    Budget,
    Pruned,
    channels_of,
    narrowed_model,
    prune_channels,
    whole_model,
)
from kd_plugins.compression.pruning.trace import Cost, trace
from kd_plugins.compression.pruning.verify import check_same, naming
from kd_plugins.errors import ConfigError
from tests.compression.pruning.models import built, config, images

pytestmark = pytest.mark.filterwarnings('ignore:``build_loss`` would be deprecated')
NAMES = ('pspnet', 'frcnn', 'gfl')
_done: dict[str, tuple[Config, Any, Pruned]] = {}


def half(name: str) -> tuple[Config, Any, Pruned]:
    """Pruned to half its multiply-adds, once for all tests."""
    if name not in _done:
        cfg = config(name)
        model = built(cfg)
        _done[name] = (
            cfg,
            model,
            prune_channels(model, images(), Budget(flops=0.5, tolerance=0.06)),
        )
    return _done[name]


@pytest.mark.parametrize('name', NAMES)
def test_the_budget_is_met_and_outputs_keep_their_channels(name: str) -> None:
    _, model, pruned = half(name)
    before, after = pruned.flops
    assert 0.44 <= after / before <= 0.5
    assert pruned.params == tuple(
        sum(each.numel() for each in one.parameters()) for one in (model, pruned.model)
    )
    assert trace(model, images()).outputs
    outputs = zip(
        trace(model, images()).outputs,
        trace(pruned.model, images()).outputs,
        strict=True,
    )
    assert all(one.shape == other.shape for one, other in outputs)


@pytest.mark.parametrize('name', NAMES)
def test_the_config_rebuilds_it_and_its_weights_fit(name: str) -> None:
    cfg, model, pruned = half(name)
    channels = channels_of(model, pruned.model)
    narrower = built(
        Config({**cfg.to_dict(), 'model': narrowed_model(cfg.model, channels)})
    )
    assert type(narrower) is type(model)
    narrower.load_state_dict(pruned.model.state_dict(), strict=True)
    check_same(pruned.model, narrower, images())
    # Rebuilt without its weights it gives something else, which is noticed.
    other = built(
        Config({**cfg.to_dict(), 'model': narrowed_model(cfg.model, channels)})
    )
    with pytest.raises(ConfigError, match='rebuilt, it gives other outputs'):
        check_same(pruned.model, other, images())


def test_what_a_faster_rcnn_keeps_fits_together() -> None:
    _, _, pruned = half('frcnn')
    model = pruned.model
    width = model.roi_head.bbox_roi_extractor.out_channels
    assert width < 16
    # The first linear layer reads 7 x 7 pixels of each channel that is left.
    assert model.roi_head.bbox_head.shared_fcs[0].in_features == 49 * width
    assert model.rpn_head.rpn_conv.in_channels == width
    assert model.rpn_head.rpn_reg.out_channels == 12
    assert model.roi_head.bbox_head.fc_cls.out_features == 11


def test_groups_of_a_norm_stay_even() -> None:
    _, _, pruned = half('gfl')
    norms = [each for each in pruned.model.modules() if isinstance(each, nn.GroupNorm)]
    assert min(each.num_channels for each in norms) < 16
    assert all(each.num_channels % each.num_groups == 0 for each in norms)


def test_residual_branches_have_one_width() -> None:
    _, _, pruned = half('pspnet')
    layer = pruned.model.backbone.layer2
    assert layer[0].conv2.out_channels == layer[1].conv2.out_channels
    assert layer[0].downsample[0].out_channels == layer[1].conv1.in_channels


def test_weights_that_are_left_are_the_models_own() -> None:
    model, pruned = half('pspnet')[1:]
    before, after = (one.backbone.stem[0].weight for one in (model, pruned.model))
    kept = [
        any(torch.equal(channel, each) for each in before.detach()) for channel in after
    ]
    assert kept == [True] * len(after) and len(after) < len(before)


def test_the_model_itself_stays_as_it_is() -> None:
    model = built(config('pspnet'))
    before = copy.deepcopy(model.state_dict())
    model.backbone.stem.requires_grad_(False)
    pruned = prune_channels(model, images(), Budget(params=0.7, tolerance=0.1)).model
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert not pruned.backbone.stem[0].weight.requires_grad
    assert pruned.decode_head.conv_seg.weight.requires_grad


def test_by_chance_the_shape_is_the_same_and_the_channels_are_others() -> None:
    _, model, pruned = half('pspnet')
    budget = Budget(flops=0.5, tolerance=0.06)
    chance = prune_channels(model, images(), budget, importance='random', seed=1)
    assert channels_of(model, chance.model) == channels_of(model, pruned.model)
    weights = [one.model.backbone.layer3[0].conv1.weight for one in (pruned, chance)]
    assert not torch.equal(*weights)


def test_what_is_kept_keeps_its_outputs() -> None:
    model = built(config('pspnet'))
    budget = Budget(flops=0.6, tolerance=0.1)
    pruned = prune_channels(model, images(), budget, keep=['backbone.layer1*'])
    layers = pruned.model.backbone.layer1
    assert [each.conv1.out_channels for each in layers] == [8, 8]
    assert layers[0].conv1.in_channels == 8
    assert 'backbone.layer1.0.conv1' in pruned.kept


def test_multiply_adds_by_hand() -> None:
    model = built(config('frcnn'))
    cost = Cost(model, images(64))
    # 7x7 kernels, 3 to 8 channels, at stride 2: 32 x 32 pixels.
    stem = model.backbone.conv1
    assert cost._positions[stem] * stem.weight.numel() == 32 * 32 * 7 * 7 * 3 * 8
    # The RPN's runs on strides 4 to 32; the RoI head for 100 proposals.
    assert cost._positions[model.rpn_head.rpn_conv] == 16**2 + 8**2 + 4**2 + 2**2
    assert cost._positions[model.roi_head.bbox_head.fc_cls] == 100


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({}, 'a share of either flops or params, got neither'),
        ({'flops': 0.5, 'params': 0.5}, 'got flops and params'),
        ({'flops': 1.5}, r'flops is a share, above 0 and below 1, got 1\.5'),
        ({'params': True}, 'params is a share, above 0 and below 1, got True'),
    ],
)
def test_a_budget_that_is_none(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Budget(**arguments)


def test_budgets_that_cannot_be_met() -> None:
    model = built(config('pspnet'))
    with pytest.raises(ConfigError, match=r'1 % of the multiply-adds cannot be met: '):
        prune_channels(model, images(), Budget(flops=0.01))
    with pytest.raises(ConfigError, match=r'within 1e-07 %: channels that depend on'):
        prune_channels(model, images(), Budget(params=0.5, tolerance=1e-9))
    with pytest.raises(ConfigError, match=r"keep: there is no layer 'bakbone\*'"):
        prune_channels(model, images(), Budget(params=0.5), keep=['bakbone*'])
    with pytest.raises(ConfigError, match="importance must be 'magnitude' or 'random'"):
        prune_channels(model, images(), Budget(params=0.5), importance='magnitud')


def test_without_the_library_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'torch_pruning', None)
    model = built(config('pspnet'))
    with pytest.raises(ConfigError, match=r"pip install 'kd_plugins\[prune\]'"):
        prune_channels(model, images(), Budget(flops=0.5))


def test_what_cannot_run_is_named() -> None:
    model = built(config('pspnet'))
    model.backbone.layer2[0].bn1 = nn.BatchNorm2d(5)
    message = r"'backbone.layer2.0.bn1' \(BatchNorm2d\) cannot be pruned"
    with pytest.raises(ConfigError, match=message), naming(model):
        trace(model, images())
    assert not model.backbone._forward_pre_hooks


@pytest.mark.parametrize(
    ('channels', 'error', 'message'),
    [
        ({'neck': 3}, ValueError, "EncoderDecoder has no layer 'neck'"),
        ({'backbone': 3}, TypeError, r"'backbone' \(ResNetV1c\) has no such channels"),
        ({'backbone.stem.0': (3, 40)}, ValueError, r'has \[3, 4\] channels'),
        ({'backbone.stem.0': 3}, TypeError, 'has no such channels'),
        ({'backbone.stem.1': 9}, ValueError, r'cannot be narrowed to \[9\]'),
        ({'backbone.stem.1': (1, 1)}, TypeError, 'has no such channels'),
    ],
)
def test_a_manifest_that_does_not_fit(
    channels: Any, error: type[Exception], message: str
) -> None:
    cfg = config('pspnet')
    cfg.model = {
        **cfg.model,
        'type': 'kd_plugins.Narrowed',
        'of': cfg.model.type,
        'channels': channels,
    }
    with pytest.raises(error, match=message):
        built(cfg)


def test_a_narrower_model_can_be_narrowed_again() -> None:
    cfg, model, pruned = half('pspnet')
    again = prune_channels(pruned.model, images(), Budget(flops=0.6, tolerance=0.1))
    first = narrowed_model(cfg.model, channels_of(model, pruned.model))
    second = narrowed_model(first, channels_of(model, again.model))
    assert second.of == 'EncoderDecoder' and whole_model(second) == cfg.model
    rebuilt = built(Config({'default_scope': 'mmseg', 'model': second}))
    rebuilt.load_state_dict(again.model.state_dict())


def test_a_layer_without_channels_to_name() -> None:
    model = nn.Module()
    other = nn.Module()
    model.weight = nn.Parameter(torch.zeros(4, 4))
    other.weight = nn.Parameter(torch.zeros(2, 4))
    with pytest.raises(ConfigError, match=r'\(Module\) cannot be pruned'):
        channels_of(model, other)


def test_the_builder_uses_torch_and_mmengine_alone() -> None:
    text = Path('kd_plugins/compression/pruning/narrowed.py').read_text()
    lines = [each.strip() for each in text.splitlines()]
    imports = [each for each in lines if each.startswith(('import ', 'from '))]
    inside = ['import torch', 'from mmengine.registry import MODELS']
    assert imports == ['from typing import Any', *inside]
