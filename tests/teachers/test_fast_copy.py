"""A fast copy holds what runs, under the same names, and leaves the model alone."""

import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.recorders import LayerRecorder
from kd_plugins.teachers import Teacher, fast_copy
from kd_plugins.teachers.fast import Switches, can_prepack
from kd_plugins.teachers.fast_copy import FastModel, handed_over, make_fast
from kd_plugins.teachers.packed import PackedConv2d
from tests.distillers.tiny import faster_rcnn, teacher_of, weights_of

CPU = torch.device('cpu')
ALL = Switches(True, True, can_prepack('bfloat16'), 'bfloat16')
PARTS = ('backbone', 'neck', 'rpn_head')


@pytest.fixture
def model() -> nn.Module:
    return Teacher('teacher', teacher_of(faster_rcnn())).prepare(CPU)


def features_of(fast: FastModel | nn.Module, images: Tensor) -> list[Tensor]:
    if isinstance(fast, FastModel):
        with torch.no_grad(), fast.running(CPU):
            features = fast.model.extract_feat(fast.inputs(images))
        return [handed_over(item) for item in features]
    with torch.no_grad():
        return list(fast.extract_feat(images))


def test_the_plain_weights_stay_untouched(model: nn.Module) -> None:
    before, children = weights_of(model), dict(model.named_modules())
    fast = make_fast(model, PARTS, [], ALL)
    features_of(fast, torch.randn(2, 3, 64, 64))
    assert dict(model.named_modules()) == children
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) and value.dtype == before[name].dtype
        assert value.stride() == before[name].stride()


def test_only_what_runs_is_copied(model: nn.Module) -> None:
    fast = make_fast(model, PARTS, [], ALL).model
    assert fast.roi_head is model.roi_head
    for part in PARTS:
        own = {id(item) for item in getattr(fast, part).parameters()}
        assert own and not own & {id(item) for item in model.parameters()}


def test_paths_are_those_of_the_model(model: nn.Module) -> None:
    fast = make_fast(model, PARTS, [], ALL).model
    names = [name for name, _ in model.named_modules()]
    assert [name for name, _ in fast.named_modules()] == names


@pytest.mark.parametrize(
    ('switches', 'tolerance'),
    [
        (Switches(fold_bn=True), 1e-5),
        (Switches(channels_last=True), 1e-5),
        (Switches(prepack=can_prepack('float32'), channels_last=True), 1e-5),
        (Switches(dtype='bfloat16'), 0.02),
        (Switches(dtype='float16'), 0.005),
        (ALL, 0.02),
    ],
    ids=str,
)
def test_features_are_near(
    model: nn.Module, switches: Switches, tolerance: float
) -> None:
    images = torch.randn(2, 3, 64, 64)
    fast = features_of(make_fast(model, PARTS, [], switches), images)
    for feature, expected in zip(fast, features_of(model, images), strict=True):
        assert feature.dtype == torch.float32 and feature.is_contiguous()
        error = (feature - expected).norm() / expected.norm()
        assert error < tolerance
        assert error > 0 or not switches.lowered


def test_each_switch_shows_in_the_copy(model: nn.Module) -> None:
    stage = make_fast(model, PARTS, [], ALL).model.backbone.layer1[0]
    assert isinstance(stage.bn1, nn.Identity)
    assert isinstance(stage.conv1, PackedConv2d) == can_prepack('bfloat16')
    assert stage.conv1.weight.dtype == torch.bfloat16
    assert stage.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    norm = make_fast(model, PARTS, [], replace(ALL, fold_bn=False))
    assert norm.model.backbone.layer1[0].bn1.weight.dtype == torch.float32


@pytest.mark.parametrize('value', ['output', 'input'])
@pytest.mark.parametrize('path', ['conv1', 'bn1', 'relu', 'conv2'])
def test_recorded_values_stay_what_they_are(
    model: nn.Module, path: str, value: str
) -> None:
    recorder = LayerRecorder(f'backbone.layer1.0.{path}', copy=True, value=value)
    images = torch.randn(2, 3, 64, 64)
    fast = make_fast(model, PARTS, [recorder], Switches(fold_bn=True))
    recorded = []
    for each in (model, fast):
        network = each.model if isinstance(each, FastModel) else each
        with recorder.attach(network) as record:
            features_of(each, images)
        recorded.append(record.outputs)
    assert len(recorded[0]) == len(recorded[1]) > 0
    for one, other in zip(*recorded, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('path', 'compiled'),
    [('neck', ['backbone', 'neck']), ('neck.fpn_convs.0', ['backbone'])],
)
def test_parts_without_records_inside_are_compiled(
    model: nn.Module, path: str, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    functions: list[Any] = []
    monkeypatch.setattr(torch, 'compile', lambda item: functions.append(item) or item)
    switches = replace(ALL, compile=True)
    fast = make_fast(model, PARTS, [LayerRecorder(path)], switches).model
    assert [item.__self__ for item in functions] == [
        getattr(fast, part) for part in compiled
    ]
    convs = [item for item in fast.backbone.modules() if isinstance(item, nn.Conv2d)]
    assert not any(isinstance(item, PackedConv2d) for item in convs)


def test_rois_keep_the_places_of_their_corners(model: nn.Module) -> None:
    parts = (*PARTS, 'roi_head')
    fast = make_fast(model, parts, [], ALL)
    feature = torch.randn(1, 8, 64, 64)
    rois = torch.tensor([[0.0, 100.3, 100.4, 130.7, 128.6]])
    with torch.no_grad(), fast.running(CPU):
        halved = feature.bfloat16()
        pooled = fast.model.roi_head.bbox_roi_extractor((halved, halved), rois)
        expected = model.roi_head.bbox_roi_extractor(
            (halved.float(), halved.float()), rois
        )
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('compiled', [True, False])
def test_compiled_operators_compute_in_float32(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []

    class Operator(nn.Module):
        """As one of mmcv's: with a convolution of its own inside."""

        __module__ = 'mmcv.ops.some'

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, image: Tensor) -> Tensor:
            seen.extend((image.dtype, self.conv(image).dtype))
            return image

    monkeypatch.setattr(fast_copy, 'compiled_operators', lambda: compiled)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Operator())
    model = nn.Module()
    model.backbone = network.requires_grad_(False)
    fast = make_fast(model, ['backbone'], [], Switches(dtype='bfloat16'))
    with torch.no_grad(), fast.running(CPU):
        fast.model.backbone(torch.randn(1, 3, 4, 4))
    assert seen == [torch.float32 if compiled else torch.bfloat16] * 2


def test_a_convolution_at_two_places_is_packed_once(model: nn.Module) -> None:
    model.neck.again = model.neck.fpn_convs[0]
    fast = make_fast(model, PARTS, [], ALL).model
    assert fast.neck.again.conv is fast.neck.fpn_convs[0].conv


class Pair(NamedTuple):
    first: Tensor
    second: str


@dataclass
class Record:
    maps: list[Tensor]
    name: str = 'a'


def test_whatever_holds_tensors_is_handed_over_in_float32() -> None:
    half = torch.ones(1, 2, 3, 4).half().to(memory_format=torch.channels_last)
    item = {'a': (half, Pair(half, 'b')), 'c': Record([half]), 'd': None}
    given = handed_over(copy.deepcopy(item))
    (first, pair), record = given['a'], given['c']
    assert isinstance(pair, Pair) and pair.second == 'b'
    assert isinstance(record, Record) and record.name == 'a'
    assert given['d'] is None
    for tensor in (first, pair.first, record.maps[0]):
        assert tensor.dtype == torch.float32 and tensor.is_contiguous()
        assert torch.equal(tensor, half.float())
    counts = torch.arange(3)
    assert handed_over(counts).dtype == torch.int64
