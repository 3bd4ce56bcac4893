"""Whole numbers in ONNX: what is computed there is what was trained."""

import re
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.compression.quantization import calibrate, quantized_model
from kd_plugins.compression.quantization.calibrate import observed
from kd_plugins.compression.quantization.int8 import int8_copy, store_int8
from kd_plugins.errors import ConfigError

from ..distillers.tiny_seg import raw_segments, segmentor
from .test_quantized_model import built, with_statistics


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def trained(model: nn.Module, image: Tensor, **options: Any) -> Any:
    """Quantised, its ranges those of an image."""
    quantized = quantized_model(model, **options)  # type: ignore[arg-type]
    quantized.train()(image)
    return quantized.eval()


def session(model: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


@pytest.fixture(scope='module')
def image() -> Tensor:
    return torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(3)) - 0.3


@pytest.fixture(scope='module')
def exported(image: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small network of 4 bits, far from its float weights; as an ONNX model too."""
    coarse = dict(type='UniformWeights', bits=4)
    quantized = trained(with_statistics(small()), image, weights=coarse)
    file = tmp_path_factory.mktemp('int8') / 'small.onnx'
    torch.onnx.export(
        int8_copy(quantized),
        (image,),
        str(file),
        input_names=['image'],
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return quantized, onnx.load(str(file))


def test_copy_computes_the_same_and_leaves_the_model(image: Tensor) -> None:
    quantized = trained(with_statistics(small()), image)
    before = {name: item.clone() for name, item in quantized.state_dict().items()}
    copied = int8_copy(quantized)
    with torch.no_grad():
        assert_close(copied(image), quantized(image), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(item, nn.BatchNorm2d) for item in copied.modules())
    for name, value in quantized.state_dict().items():
        assert torch.equal(value, before[name])


def test_runtime_computes_what_was_trained(exported: Any, image: Tensor) -> None:
    quantized, model = exported
    assert store_int8(model) == 3
    onnx.checker.check_model(model, full_check=True)
    (found,) = session(model).run(None, {'image': image.numpy()})
    with torch.no_grad():
        expected = quantized(image)
        plain = with_statistics(small()).eval()(image)
    span = float(expected.max() - expected.min())
    # Sums of whole numbers are rounded otherwise than of floats: by less than a step.
    assert float((torch.from_numpy(found) - expected).abs().max()) < span / 100
    assert float((plain - expected).abs().max()) > span / 100


def test_weights_are_whole_numbers_in_the_file(exported: Any) -> None:
    _, model = exported
    store_int8(model)
    kinds = {item.name: item.data_type for item in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == 'DequantizeLinear']
    weights = [node for node in nodes if node.input[0] in kinds]
    assert len(weights) == 3
    assert {kinds[node.input[0]] for node in weights} == {onnx.TensorProto.UINT8}
    # No float weight is left beside it.
    large = [item for item in model.graph.initializer if np.prod(item.dims) > 30]
    assert {item.data_type for item in large} == {onnx.TensorProto.UINT8}


def test_a_segmentor_predicts_the_same_classes() -> None:
    model = with_statistics(built(segmentor()))
    calibrate(model, [raw_segments(2)])
    inputs = model.eval().data_preprocessor(raw_segments(2))['inputs']
    copied = int8_copy(model)
    with torch.no_grad():
        assert_close(copied(inputs), model(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('options', 'got'),
    [
        (dict(weights=dict(type='TernaryWeights')), 'TernaryWeights() and Observed'),
        (dict(activations=dict(type='UnitActivations', bits=8)), 'UnitActivations('),
        (
            dict(activations=dict(type='ObservedActivations', bits=4)),
            'ObservedActivations(bits=4',
        ),
    ],
)
def test_other_numbers_are_refused(
    image: Tensor, options: dict[str, Any], got: str
) -> None:
    quantized = trained(small(), image, **options)
    with pytest.raises(ConfigError, match=r'^0, 3, 7 cannot be exported') as error:
        int8_copy(quantized)
    assert re.search(re.escape(got), str(error.value))


def test_seven_bits_are_stored_as_eight(image: Tensor) -> None:
    quantized = trained(small(), image, weights=dict(type='UniformWeights', bits=7))
    copied = int8_copy(quantized)
    with torch.no_grad():
        assert_close(copied(image), quantized(image), rtol=1e-5, atol=1e-6)


def test_float_weights_are_refused() -> None:
    model = MODELS.build(dict(type='kd_plugins.Quantized', model=segmentor()))
    assert not any(item.is_observed for item in observed(model).values())
    with pytest.raises(ConfigError, match='knows the range of what it reads'):
        int8_copy(model)
