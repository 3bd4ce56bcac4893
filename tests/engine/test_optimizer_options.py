"""Options and constructors of the optimiser that cannot be are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import (
    DefaultOptimWrapperConstructor,
    OptimWrapperDict,
)
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope
from torch import nn

from kd_plugins import ConfigError
from kd_plugins.engine.optimizer import DistillOptimWrapperConstructor
from tests.engine.hooks.toy import ToyDistiller

pytestmark = pytest.mark.host


def cfg_of(**changes: Any) -> dict[str, Any]:
    optimizer = {'type': 'AdamW', 'lr': 0.1, 'weight_decay': 0.1}
    return {'type': 'OptimWrapper', 'optimizer': optimizer, **changes}


def distiller(**options: Any) -> ToyDistiller:
    torch.manual_seed(0)
    return ToyDistiller({'type': 'ToyStudent'}, **options)


def test_a_misspelt_constructor() -> None:
    message = (
        "optim_wrapper.constructor: there is no 'DefaultOptimWraperConstructor'. C"
    )
    with pytest.raises(
        ConfigError, match=message + ".*'DefaultOptimWrapperConstructor'"
    ):
        DistillOptimWrapperConstructor(
            cfg_of(student_constructor='DefaultOptimWraperConstructor')
        )


def test_a_misspelt_constructor_of_the_default_scope(tmp_path: Path) -> None:
    with DefaultScope.overwrite_default_scope('mmdet'):
        DistillOptimWrapperConstructor(
            cfg_of(student_constructor='LearningRateDecayOptimizerConstructor'),
            {'num_layers': 2},
        )
        with pytest.raises(
            ConfigError, match="'LearningRateDecayOptimizerConstructor'"
        ):
            DistillOptimWrapperConstructor(
                cfg_of(student_constructor='LearningRateDecayOptimizer')
            )


def test_a_misspelt_adapter_option() -> None:
    with pytest.raises(ConfigError, match=r"has no 'lr_mul'\. Close: 'lr_mult'"):
        DistillOptimWrapperConstructor(cfg_of(adapter_cfg={'lr_mul': 1.0}))


def test_adapters_are_clipped_by_norm_only() -> None:
    clip = {'type': 'value', 'clip_value': 1.0}
    constructor = DistillOptimWrapperConstructor(
        cfg_of(adapter_cfg={'clip_grad': clip})
    )
    with pytest.raises(ConfigError, match=r"type must be 'norm', got 'value'"):
        constructor(distiller())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TwoOptimizers(DefaultOptimWrapperConstructor):
    def __call__(self, model: nn.Module) -> Any:
        return OptimWrapperDict(one=super().__call__(model))


def test_several_optimisers_are_refused() -> None:
    construct = DistillOptimWrapperConstructor(
        cfg_of(student_constructor='TwoOptimizers')
    )
    message = (
        r'optim_wrapper.constructor: TwoOptimizers gives the student several '
        r'optimisers \(OptimWrapperDict\); a distiller is trained by one'
    )
    with pytest.raises(ConfigError, match=message):
        construct(distiller())
