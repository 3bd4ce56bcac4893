"""In bfloat16 every loss stays finite and near its value in float32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict

from kd_plugins.engine.amp import BFloat16OptimWrapper, enable_amp
from tests.distillers.split import split_config, split_segments
from tests.distillers.tiny import all_pairs, distiller, losses_of
from tests.engine.hooks.toy import build, unformatted


@pytest.mark.host
def test_losses_in_bfloat16_are_near_those_in_float32() -> None:
    model = distiller(all_pairs())
    full = losses_of(model)
    with torch.autocast('cpu', torch.bfloat16):
        half = losses_of(model)
    model.parse_losses(half)[0].backward()
    for name in all_pairs():
        key = f'loss_kd_{name}'
        assert half[key].dtype == torch.float32
        torch.testing.assert_close(half[key], full[key], rtol=2e-2, atol=1e-4)
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@pytest.mark.host
@pytest.mark.parametrize('config', [split_config, split_segments])
def test_after_a_step_of_our_wrapper_too(config: Any, tmp_path: Path) -> None:
    losses: list[dict[str, list[float]]] = []
    for amp in (False, True):
        cfg = config(tmp_path / str(amp), batch_size=2)
        cfg.train_cfg.max_iters = 2
        if 'rpn_proposal' in cfg.model.student.train_cfg:
            # RoIs are the ground truth: which others a new model would sample hangs on
            # scores that are nearly equal.
            cfg.model.student.train_cfg.rpn_proposal.max_per_img = 0
        if amp:
            enable_amp(cfg)
        with unformatted():
            runner = build(cfg)
            runner.train()
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, OptimWrapperDict):
            wrapper = wrapper['student']
        assert isinstance(wrapper, BFloat16OptimWrapper) == amp
        scalars = runner.message_hub.log_scalars
        losses.append({k: v.data[0] for k, v in scalars.items() if 'loss' in k})
    plain, mixed = losses
    assert plain.keys() == mixed.keys()
    assert {f'train/loss_kd_{name}' for name in cfg.model.pairs} <= plain.keys()
    for key, values in plain.items():
        assert len(values) == 2
        assert list(mixed[key]) == pytest.approx(list(values), rel=2e-2), key


@pytest.mark.host
def test_the_critic_computes_in_float32_beside_a_student_in_bfloat16(
    tmp_path: Path,
) -> None:
    cfg = split_segments(tmp_path, batch_size=2)
    cfg.train_cfg.max_iters = 2
    enable_amp(cfg)
    with unformatted():
        runner = build(cfg)
    critic = runner.model.losses.holistic.critic
    seen: dict[str, set[torch.dtype]] = {'student': set(), 'critic': set()}
    for name, module in (
        ('student', runner.model.student.decode_head.conv_seg),
        ('critic', critic.blocks[0]),
        ('critic', critic.score),
    ):
        module.register_forward_hook(
            lambda _module, args, result, name=name: seen[name].update(
                {args[0].dtype, result.dtype}
            )
        )
    with unformatted():
        runner.train()
    assert seen == {'student': {torch.bfloat16}, 'critic': {torch.float32}}
    assert all(each.dtype == torch.float32 for each in critic.state_dict().values())
    assert type(runner.optim_wrapper['holistic_critic']) is OptimWrapper
    moments = runner.optim_wrapper['holistic_critic'].state_dict()['state']
    assert moments
    assert all(
        each['momentum_buffer'].dtype == torch.float32 for each in moments.values()
    )
