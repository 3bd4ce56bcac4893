import copy
from typing import Any

import pytest
import torch
from mmengine.optim import (
    DefaultOptimWrapperConstructor,
    OptimWrapper,
)
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from kd_plugins.engine.optimizer import DistillOptimWrapperConstructor
from tests.engine.hooks.toy import ToyDistiller, ToyStudent, same_state

pytestmark = pytest.mark.host
INPUTS = [torch.randn(4, generator=torch.Generator().manual_seed(1)) for _ in range(8)]
OPTIMIZERS = {
    'SGD': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9, 'weight_decay': 0.1},
    'AdamW': {'type': 'AdamW', 'lr': 0.1, 'weight_decay': 0.1},
}
CLIPPING = {
    'no clipping': None,
    'by norm': {'max_norm': 0.1},
    'by value': {'type': 'value', 'clip_value': 0.01},
}


def cfg_of(**changes: Any) -> dict[str, Any]:
    cfg = {'type': 'OptimWrapper', 'optimizer': OPTIMIZERS['AdamW'], **changes}
    return copy.deepcopy(cfg)


def distiller(**options: Any) -> ToyDistiller:
    torch.manual_seed(0)
    return ToyDistiller({'type': 'ToyStudent'}, **options)


def steps(model: Any, wrapper: OptimWrapper, count: int = 4) -> dict[str, Any]:
    torch.manual_seed(1)
    for _ in range(count):
        model.train_step({'inputs': INPUTS}, wrapper)
    student = getattr(model, 'student', model)
    return dict(student.state_dict())


def gradient_norm(module: nn.Module) -> float:
    gradients = [parameter.grad for parameter in module.parameters()]
    kept = [gradient.flatten() for gradient in gradients if gradient is not None]
    return float(torch.cat(kept).norm())


class Undistilled(ToyStudent):
    """The student as the distiller of weight 0 runs it: its backbone runs twice."""

    def forward(self, inputs: Any, mode: str = 'tensor') -> Any:
        result = super().forward(inputs, mode)
        if mode == 'loss':
            with torch.no_grad():
                self.backbone(torch.stack(inputs))
        return result


@pytest.mark.parametrize('clip_grad', CLIPPING.values(), ids=CLIPPING)
@pytest.mark.parametrize('optimizer', OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize('paramwise', [None, {'norm_decay_mult': 0.0}])
def test_with_weight_0_the_student_moves_as_without_distillation(
    optimizer: dict[str, Any],
    clip_grad: dict[str, Any] | None,
    paramwise: dict[str, Any] | None,
) -> None:
    cfg = cfg_of(optimizer=optimizer, clip_grad=clip_grad)
    ours = distiller(weight=0.0)
    torch.manual_seed(0)
    alone = Undistilled()
    host = DefaultOptimWrapperConstructor(copy.deepcopy(cfg), paramwise)(alone)
    wrapper = DistillOptimWrapperConstructor(cfg, paramwise)(ours)
    before = copy.deepcopy(ours.adapters)
    assert same_state(steps(ours, wrapper), steps(alone, host))
    moved = not same_state(ours.adapters.state_dict(), before.state_dict())
    assert moved  # by weight decay


def test_a_large_gradient_of_an_adapter_does_not_shrink_the_student_s_step() -> None:
    norms = {}
    for weight in (0.0, 1e6):
        model = distiller(weight=weight)
        sgd = {'type': 'SGD', 'lr': 1.0}
        cfg = cfg_of(optimizer=sgd, clip_grad={'max_norm': 0.1})
        wrapper = DistillOptimWrapperConstructor(cfg)(model)
        for group, size in zip(wrapper.param_groups, (1.0, weight), strict=False):
            for parameter in group['params']:
                parameter.grad = torch.full_like(parameter, size)
        before = model.student.head[1].weight.detach().clone()
        wrapper.step()
        norms[weight] = (model.student.head[1].weight - before).norm().item()
        assert gradient_norm(model.adapters) <= 0.1 + 1e-6
    assert norms[1e6] == norms[0.0] > 0


def test_without_own_parameters_it_is_the_host_s_optimiser() -> None:
    model = distiller(adapter=False)
    cfg = cfg_of(clip_grad={'max_norm': 0.1})
    wrapper = DistillOptimWrapperConstructor(cfg)(model)
    host = DefaultOptimWrapperConstructor(cfg_of(clip_grad={'max_norm': 0.1}))(
        model.student
    )
    assert type(wrapper) is type(host)
    assert repr(wrapper) == repr(host)
    assert '_clip_grad' not in vars(wrapper)


def test_a_plain_model_gets_the_host_s_optimiser() -> None:
    model = ToyStudent()
    wrapper = DistillOptimWrapperConstructor(cfg_of())(model)
    assert repr(wrapper) == repr(DefaultOptimWrapperConstructor(cfg_of())(model))


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ByName(DefaultOptimWrapperConstructor):
    """As layer decay does: it asks how names start, and keeps them in the groups."""

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, **_: Any
    ) -> None:
        for part in ('backbone.', 'head.'):
            chosen = {
                name: parameter
                for name, parameter in module.named_parameters()
                if name.startswith(part)
            }
            params.append(
                {
                    'params': list(chosen.values()),
                    'param_names': list(chosen),
                    'lr': self.base_lr * self.paramwise_cfg[part],
                }
            )


def test_the_configured_constructor_sees_the_student_s_own_names() -> None:
    cfg = cfg_of(student_constructor='ByName')
    factors = {'backbone.': 0.5, 'head.': 2.0}
    wrapper = DistillOptimWrapperConstructor(cfg, factors)(distiller())
    lrs = [group['lr'] for group in wrapper.optimizer.param_groups]
    assert lrs == pytest.approx([0.05, 0.2, 0.1])
    names = [group['param_names'] for group in wrapper.optimizer.param_groups]
    assert names[0][0] == 'backbone.0.weight'
    assert names[2] == ['adapters.hint.weight', 'adapters.hint.bias']


def test_layer_decay_of_mmdet() -> None:
    pytest.importorskip('mmdet.engine')

    class ConvNeXt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.ModuleList([nn.Sequential(nn.Linear(4, 6))])

    model = distiller()
    model.student.backbone = ConvNeXt()
    cfg = cfg_of(student_constructor='mmdet.LearningRateDecayOptimizerConstructor')
    paramwise = {'num_layers': 2, 'decay_rate': 0.5, 'decay_type': 'stage_wise'}
    wrapper = DistillOptimWrapperConstructor(cfg, paramwise)(model)
    by_name = {
        name: group['lr']
        for group in wrapper.optimizer.param_groups
        for name in group['param_names']
    }
    assert by_name['head.1.weight'] == pytest.approx(0.1)
    assert by_name['backbone.stages.0.0.weight'] == pytest.approx(0.1 * 0.5**2)


def test_options_of_the_adapters_group() -> None:
    adapter_cfg = {'lr_mult': 10.0, 'decay_mult': 0.0, 'clip_grad': {'max_norm': 0.5}}
    model = distiller()
    wrapper = DistillOptimWrapperConstructor(cfg_of(adapter_cfg=adapter_cfg))(model)
    group = wrapper.optimizer.param_groups[-1]
    assert group['lr'] == pytest.approx(1.0)
    assert group['weight_decay'] == 0
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    wrapper.step()
    assert gradient_norm(model.adapters) == pytest.approx(0.5)
    count = sum(parameter.numel() for parameter in model.student.parameters())
    assert gradient_norm(model.student) == pytest.approx(count**0.5)  # not clipped


def test_state_is_saved_and_loaded_with_the_group() -> None:
    cfg = cfg_of(clip_grad={'max_norm': 0.1})
    whole, broken = distiller(), distiller()
    wrapper = DistillOptimWrapperConstructor(copy.deepcopy(cfg))(whole)
    steps(whole, wrapper, 2)
    broken.load_state_dict(copy.deepcopy(whole.state_dict()))
    broken.random_stream.load_state_dict(whole.random_stream.state_dict())
    again = DistillOptimWrapperConstructor(copy.deepcopy(cfg))(broken)
    again.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    assert same_state(steps(broken, again, 2), steps(whole, wrapper, 2))
    assert same_state(broken.adapters.state_dict(), whole.adapters.state_dict())
