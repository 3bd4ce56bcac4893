from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from kd_plugins import ConfigError
from kd_plugins.engine import amp
from kd_plugins.engine.amp import BFloat16OptimWrapper, enable_amp
from tests.engine.hooks.toy import ToyStudent, build, toy_config, train

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amp, 'get_device', lambda: 'cpu')


def test_trains_in_bfloat16_and_stays_near_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []
    forward = ToyStudent.forward

    def watched(self: ToyStudent, inputs: object, mode: str = 'tensor') -> object:
        if mode == 'loss':
            seen.append(self.backbone(torch.stack(inputs)).dtype)  # type: ignore[arg-type]
        return forward(self, inputs, mode)

    monkeypatch.setattr(ToyStudent, 'forward', watched)
    short = {'train_cfg': {'max_iters': 1}}
    plain = train(tmp_path / 'plain', **short)
    cfg = toy_config(tmp_path / 'amp', **short)
    enable_amp(cfg)
    mixed = build(cfg)
    mixed.train()
    assert seen == [torch.float32, torch.bfloat16]
    assert isinstance(mixed.optim_wrapper, BFloat16OptimWrapper)
    for name in ('loss_task', 'loss_kd_hint'):
        losses = [
            run.message_hub.get_scalar(f'train/{name}').current()
            for run in (plain, mixed)
        ]
        assert losses[1] == pytest.approx(losses[0], rel=2e-2)
    state = mixed.model.state_dict().values()
    assert all(value.isfinite().all() for value in state)
    assert all(value.dtype != torch.bfloat16 for value in state)


def test_the_host_s_own_wrapper_is_replaced_without_a_gpu(tmp_path: Path) -> None:
    # This is what the hosts' own tools do for --amp.
    amp_wrapper = {'type': 'AmpOptimWrapper', 'loss_scale': 'dynamic'}
    runner = train(tmp_path, optim_wrapper=amp_wrapper, train_cfg={'max_iters': 2})
    assert isinstance(runner.optim_wrapper, BFloat16OptimWrapper)


def test_with_a_gpu_it_is_the_host_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amp, 'get_device', lambda: 'cuda')
    cfg = Config({'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 1.0}}})
    enable_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'


def test_half_precision_needs_a_gpu() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ConfigError, match="must be 'bfloat16' on a CPU, got 'float16'"):
        BFloat16OptimWrapper(optimizer=optimizer, dtype='float16')
    assert isinstance(
        BFloat16OptimWrapper(optimizer=optimizer, dtype='bfloat16'), OptimWrapper
    )


def test_another_wrapper_has_no_mixed_precision() -> None:
    cfg = Config({'optim_wrapper': {'type': 'ApexOptimWrapper'}})
    with pytest.raises(ConfigError, match=r"--amp needs .* got 'ApexOptimWrapper'"):
        enable_amp(cfg)
