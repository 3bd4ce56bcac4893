"""A critic in whole runs: resumed, averaged, scheduled, and gone from the student."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.distillers.student import student_config
from kd_plugins.registry import MODELS
from tests.hooks.toy import build, same_state, unformatted

from .tiny_seg import holistic_run, segmentor

pytestmark = pytest.mark.host
POLY = dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=0, end=4)


def train(work_dir: Path, **changes: Any) -> Any:
    with unformatted():
        runner = build(holistic_run(work_dir, **changes))
        runner.train()
    return runner


@pytest.mark.parametrize('averaged', [False, True], ids=['plain', 'averaged'])
def test_resumes_bit_for_bit_with_both_optimisers(
    tmp_path: Path, averaged: bool
) -> None:
    changes: dict[str, Any] = dict(param_scheduler=[POLY])
    if averaged:
        changes['custom_hooks'] = [dict(type='EMAHook', momentum=0.3)]
    whole = train(tmp_path / 'whole', **changes)
    train(tmp_path / 'broken', **changes)
    for path in (tmp_path / 'broken').glob('*iter_4.pth'):
        path.unlink()
    resumed = train(tmp_path / 'broken', resume=True, **changes)
    assert any('critic' in name for name in whole.model.state_dict())
    assert same_state(resumed.model.state_dict(), whole.model.state_dict())
    for name in ('student', 'holistic_critic'):
        one, other = (
            runner.optim_wrapper[name].state_dict()['state']
            for runner in (whole, resumed)
        )
        assert one.keys() == other.keys() and one
        for key, state in one.items():
            for part, value in state.items():
                assert torch.equal(
                    torch.as_tensor(value), torch.as_tensor(other[key][part])
                )
    saved = torch.load(tmp_path / 'whole' / 'student_iter_4.pth', weights_only=False)
    plain = MODELS.build(segmentor())
    plain.load_state_dict(saved['state_dict'], strict=True)


def test_one_schedule_for_all_or_one_for_each(tmp_path: Path) -> None:
    both = train(tmp_path / 'both', param_scheduler=[POLY])
    rates = both.optim_wrapper.get_lr()
    assert rates['holistic_critic.lr'][0] < 4e-4
    assert rates['student.lr'][0] < 0.01
    each = dict(student=[POLY], holistic_critic=[])
    own = train(tmp_path / 'each', param_scheduler=each)
    assert own.optim_wrapper.get_lr()['holistic_critic.lr'] == [4e-4]
    # The student alone has one optimiser, and its schedule.
    schedule = student_config(holistic_run(tmp_path, param_scheduler=each))
    assert [item['type'] for item in schedule.param_scheduler] == ['PolyLR']


def test_both_sides_are_logged(tmp_path: Path) -> None:
    scalars = train(tmp_path).message_hub.log_scalars
    for name in ('', '_penalty', '_student', '_teacher'):
        values = scalars[f'train/critic_holistic{name}'].data[0]
        assert len(values) == 4
        assert all(torch.tensor(values).isfinite())
