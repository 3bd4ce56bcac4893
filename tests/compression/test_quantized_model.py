"""A host's model with quantised layers: what it computes, learns, loads and refuses."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.compression.quantization import (
    FoldedNorm,
    QuantizedConv2d,
    QuantizedLinear,
    calibrate,
    check_calibrated,
    quantized_layers,
    quantized_model,
)
from kd_plugins.compression.quantization.calibrate import observed
from kd_plugins.errors import ConfigError, DistillationError

from ..distillers.runs import assert_same_weights, train
from ..distillers.tiny import config, faster_rcnn, hint, losses_of, teacher_of
from ..distillers.tiny_seg import raw_segments, segmentor

OURS = dict(runner_type='kd_plugins.DistillRunner')


def built(model: dict[str, Any], **options: Any) -> Any:
    return MODELS.build(dict(type='kd_plugins.Quantized', model=model, **options))


def with_statistics(model: nn.Module) -> Any:
    """Norms that are no identities, as after a training."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eps = 0.1  # without it a test would not notice that it is left out
            for tensor in (module.weight.data, module.running_var):
                assert tensor is not None
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                assert tensor is not None
                tensor.uniform_(-0.5, 0.5)
    return model


def features(model: Any) -> Tensor:
    with torch.no_grad():
        image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        return model.extract_feat(image)[-1]


def test_norms_in_the_convolutions_change_nothing() -> None:
    plain = with_statistics(MODELS.build(segmentor())).eval()
    model = with_statistics(built(segmentor())).eval()
    model.load_state_dict(plain.state_dict())
    layers = quantized_layers(model)
    assert {'backbone.stem.0', 'backbone.layer2.0.downsample.0'} <= layers.keys()
    assert sum(isinstance(item, FoldedNorm) for item in model.modules()) >= 10
    for layer in layers.values():
        layer.weight_quantizer = nn.Identity()  # type: ignore[assignment]
    assert_close(features(model), features(plain), rtol=1e-4, atol=1e-5)


def test_eight_bits_of_weights_cost_little_and_two_cost_much() -> None:
    plain = with_statistics(MODELS.build(segmentor())).eval()
    errors = []
    for bits in (8, 2):
        model = built(segmentor(), weights=dict(type='UniformWeights', bits=bits))
        with_statistics(model)  # whose weights are loaded
        model.load_state_dict(plain.state_dict())
        difference = features(model.eval()) - features(plain)
        errors.append(float(difference.norm() / features(plain).norm()))
    assert errors[0] < 0.05 < 0.3 < errors[1]


def test_keys_are_those_of_the_host_beside_the_ranges() -> None:
    plain, model = MODELS.build(faster_rcnn()), built(faster_rcnn())
    assert type(model) is type(plain)
    added = model.state_dict().keys() - plain.state_dict().keys()
    assert all('.input_quantizer.' in key for key in added)
    assert not plain.state_dict().keys() - model.state_dict().keys()
    head = model.roi_head.bbox_head
    assert isinstance(head.fc_cls, QuantizedLinear)
    assert isinstance(model.rpn_head.rpn_cls, QuantizedConv2d)


def test_layer_at_several_places_stays_one() -> None:
    levels = nn.ModuleList(
        ConvModule(4, 4, 3, norm_cfg=dict(type='BN')) for _ in range(2)
    )
    levels[1].conv = levels[0].conv
    model = quantized_model(levels)  # type: ignore[arg-type]
    assert isinstance(model[0].conv, QuantizedConv2d)
    assert model[1].conv is model[0].conv
    # Two norms read it: neither is folded.
    assert not any(isinstance(item, FoldedNorm) for item in model.modules())


def test_gradients_reach_weights_and_norms() -> None:
    model = built(segmentor(), weights=dict(type='UniformWeights', bits=4)).train()
    loss = model.extract_feat(torch.randn(2, 3, 32, 32))[-1].square().sum()
    loss.backward()
    norm = model.backbone.layer1[0].bn1
    assert isinstance(norm, FoldedNorm)
    for parameter in (norm.weight, norm.bias, model.backbone.layer1[0].conv1.weight):
        assert parameter.grad is not None and parameter.grad.any()


def test_statistics_move_only_where_norms_are_not_folded() -> None:
    for fold in (True, False):
        model = built(segmentor(), fold_norms=fold).train()
        norm = model.backbone.layer1[0].bn1
        before = norm.running_mean.clone()
        model.extract_feat(torch.randn(2, 3, 32, 32))
        assert torch.equal(norm.running_mean, before) is fold


def test_layers_named_stay_float() -> None:
    model = built(faster_rcnn(), float_layers=['backbone.conv1', 'rpn_head', '*.fc_*'])
    names = quantized_layers(model)
    assert not any(name.startswith('rpn_head') for name in names)
    assert not names.keys() & {'backbone.conv1', 'roi_head.bbox_head.fc_cls'}
    assert 'roi_head.bbox_head.shared_fcs.0' in names


def test_a_name_without_a_layer_is_refused() -> None:
    message = r"float_layers: no layer is called 'backbone.conv9'. Close: 'backbone"
    with pytest.raises(ConfigError, match=message):
        built(faster_rcnn(), float_layers=['backbone.conv9'])
    with pytest.raises(ConfigError, match='and none is left'):
        built(faster_rcnn(), float_layers=['*'])


def test_an_unknown_quantiser_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"weights.type: no 'Uniform'. Close: 'Uni"):
        built(segmentor(), weights=dict(type='Uniform'))
    with pytest.raises(ConfigError, match='activations: bits must be 2 to 8, got 16'):
        built(segmentor(), activations=dict(type='ObservedActivations', bits=16))


def test_learnt_points_freeze_all_else() -> None:
    model = built(segmentor(), weights=dict(type='PointWeights'), activations=None)
    trained = {n for n, item in model.named_parameters() if item.requires_grad}
    assert trained and all(n.endswith('weight_quantizer.points') for n in trained)
    model.train().extract_feat(torch.randn(1, 3, 32, 32))[-1].sum().backward()
    points = model.backbone.layer1[0].conv1.weight_quantizer.points
    assert points.grad is not None and points.grad.any()


def test_a_pruned_model_is_quantised() -> None:
    block = 'backbone.layer1.0'
    channels = {f'{block}.conv1': (4, 2), f'{block}.bn1': 2, f'{block}.conv2': (2, 4)}
    pruned = dict(segmentor(), type='kd_plugins.Narrowed', of='mmseg.EncoderDecoder')
    model = with_statistics(built(dict(pruned, channels=channels)))
    calibrate(model, [raw_segments(2)])
    inner = model.backbone.layer1[0]
    assert isinstance(inner.conv1, QuantizedConv2d) and inner.bn1.num_features == 2
    assert inner.conv1.folded()[0].shape == (2, 4, 3, 3)
    assert observed(model)[f'{block}.conv2'].is_observed


def test_a_copy_folds_its_own_norms() -> None:
    model = with_statistics(built(segmentor())).eval()
    copied, before = copy.deepcopy(model), features(model)
    copied.backbone.layer1[0].bn1.weight.data.mul_(3)
    assert_close(features(model), before)
    assert not torch.allclose(features(copied), before)


def test_calibration_takes_the_ranges_of_all_batches() -> None:
    model = with_statistics(built(segmentor())).train()
    assert calibrate(model, [raw_segments(2)] * 3, number=2) == 2
    assert model.training
    ranges = observed(model)
    stem = ranges['backbone.stem.0']
    inputs = model.data_preprocessor(raw_segments(2))['inputs']
    assert float(stem.minimum) == pytest.approx(float(inputs.min()))
    assert float(stem.maximum) == pytest.approx(float(inputs.max()))
    # The auxiliary head predicts nothing.
    assert not ranges['auxiliary_head.conv_seg'].is_observed
    check_calibrated(model)


def test_a_model_without_ranges_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'none of the \d+ quantised layers knows'):
        check_calibrated(built(segmentor()))
    check_calibrated(MODELS.build(segmentor()))


def test_calibration_names_a_layer_that_reads_no_number() -> None:
    model = built(segmentor())
    model.backbone.stem[0].weight.data.fill_(float('nan'))
    name = re.escape("'backbone.stem.3'")
    with pytest.raises(DistillationError, match=f'{name} read values that are no'):
        calibrate(model, [raw_segments(2)])


@pytest.mark.host
def test_a_quantised_student_trains_as_in_the_host(tmp_path: Path) -> None:
    student = dict(type='kd_plugins.Quantized', model=faster_rcnn())
    pairs = dict(hint=hint(adapter=dict(type='ConvAdapter')))
    pairs['hint']['loss'] = dict(type='HintLoss', loss_weight=0.0)
    pairs['rcn_cls'] = dict(  # for which the student's RoI head runs a second time
        view=dict(type='roi.logits', roi_source='union', num_rois=8),
        loss=dict(type='KDLoss', loss_weight=0.0),
    )
    model = config(pairs, student=student, teacher=teacher_of(faster_rcnn(8, 16)))
    ours = train(model, tmp_path / 'ours', **OURS)
    host = train(student, tmp_path / 'host')
    state = ours.model.student_state_dict(ours.model.state_dict())
    assert_same_weights(state, host.model.state_dict())
    assert observed(host.model)['neck.fpn_convs.0.conv'].is_observed


def test_a_quantised_student_learns_from_its_own_float_weights() -> None:
    student = dict(type='kd_plugins.Quantized', model=faster_rcnn())
    pairs = dict(neck=hint())
    model = MODELS.build(
        config(pairs, student=student, teacher=teacher_of(faster_rcnn()))
    )
    losses = losses_of(model)
    model.parse_losses(losses)[0].backward()
    assert losses['loss_kd_neck'].item() > 0
    assert model.student.backbone.conv1.weight.grad.any()
