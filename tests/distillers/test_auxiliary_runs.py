"""A critic in whole runs: resumed, averaged, scheduled, and gone from the student."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.distillers.student import student_config
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.engine.hooks.toy import build, same_state, unformatted

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


def other_names(**changes: Any) -> dict[str, Any]:
    """A schedule for each optimiser, but for these; None: without it."""
    schedules: dict[str, Any] = dict(student=[POLY], holistic_critic=[]) | changes
    return {name: each for name, each in schedules.items() if each is not None}


@pytest.mark.parametrize(
    ('schedules', 'message'),
    [
        (
            other_names(holistic_critic=None),
            r"needs an entry for each of \['student', 'holistic_critic'\]\. "
            r"'holistic_critic' has none: add holistic_critic=\[\] .* _delete_=True",
        ),
        (
            other_names(holistic_critc=[POLY]),
            r"There is no optimiser 'holistic_critc'\. Close: 'holistic_critic'",
        ),
        (
            other_names(student=None, studnt=[POLY]),
            r"no optimiser 'studnt'\. Close: 'student'\. 'student' has none",
        ),
    ],
)
def test_schedules_by_names_of_no_optimiser_are_refused(
    schedules: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, param_scheduler=schedules)


def test_schedules_by_name_want_several_optimisers(tmp_path: Path) -> None:
    cfg = holistic_run(tmp_path, param_scheduler=other_names())
    cfg.model.pairs.holistic.loss = dict(type='PixelWiseLoss')
    with unformatted():
        runner = build(cfg)
        message = r"by optimiser, \['student', 'holistic_critic'\], and there is one"
        with pytest.raises(ConfigError, match=message):
            runner.train()


def test_the_critic_s_norm_is_logged_beside_the_student_s(tmp_path: Path) -> None:
    clipped = dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.01),
        clip_grad=dict(max_norm=0.5),
    )
    norms = []
    for name in ('student', 'both'):
        cfg = holistic_run(tmp_path / name, optim_wrapper=clipped)
        if name == 'both':
            cfg.model.pairs.holistic.loss.optim_wrapper = clipped
        with unformatted():
            runner = build(cfg)
            runner.train()
        scalars = runner.message_hub.log_scalars
        norms.append({key: scalars[key].data[0] for key in scalars if 'norm' in key})
    student, both = norms
    assert student.keys() == {'train/grad_norm'}
    assert both.keys() == {'train/grad_norm', 'train/grad_norm_critic_holistic'}
    assert all(len(values) == 4 for values in both.values())
    first = 'train/grad_norm'  # before a critic that is clipped steps elsewhere
    assert both[first][0] == student[first][0]


def test_both_sides_are_logged(tmp_path: Path) -> None:
    scalars = train(tmp_path).message_hub.log_scalars
    for name in ('', '_penalty', '_student', '_teacher'):
        values = scalars[f'train/critic_holistic{name}'].data[0]
        assert len(values) == 4
        assert all(torch.tensor(values).isfinite())
