"""The main jobs, shortened: resumed, at weight 0, in bfloat16, averaged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor

from kd_plugins.engine.amp import BFloat16OptimWrapper, enable_amp
from kd_plugins.errors import ConfigError
from tests.engine.hooks.toy import build, names, same_state, unformatted

from .main_job import ALONE, DETECTION, MAIN_JOBS, RAMPED, SEGMENTATION, short

pytestmark = [
    pytest.mark.host,
    pytest.mark.fast_teacher,
    # The original family's own way of reading checkpoints.
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
    # Of an optimiser that does not step at first: accumulating, or a critic's at rest.
    pytest.mark.filterwarnings(r'ignore:Detected call of `scheduler.step\(\)`'),
]
RAMP = {'type': 'LinearRamp', 'start': 0.0, 'end': 1.0, 'begin': 0, 'until': 4}
LEARNED = {DETECTION: 'adapters.', SEGMENTATION: 'losses.holistic.critic.'}


@pytest.fixture(autouse=True)
def data(
    tiny_digits: Path, tiny_mosaics: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    assert tiny_mosaics.parent == tiny_digits.parent
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_digits.parent))
    with unformatted():
        yield


def wrappers(runner: Any) -> dict[str, OptimWrapper]:
    """Optimisers of a run, by name."""
    wrapper = runner.optim_wrapper
    several = isinstance(wrapper, OptimWrapperDict)
    return dict(wrapper.items()) if several else {'student': wrapper}


def teacher_state(cfg: Any) -> dict[str, Tensor]:
    """Of a fresh teacher: random, of a seed of its own."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        teacher = MODELS.build(cfg.model).teachers['teacher']
        state: dict[str, Tensor] = teacher.prepare(torch.device('cpu')).state_dict()
    return state


@pytest.mark.slow
@pytest.mark.parametrize('job', MAIN_JOBS)
def test_a_main_job_resumes_bit_for_bit(tmp_path: Path, job: str) -> None:
    def train(name: str, **changes: Any) -> Runner:
        cfg = short(job, tmp_path / name, **changes)
        cfg.model.pairs[RAMPED[job]].loss.loss_weight = RAMP
        runner = build(cfg)
        runner.train()
        return runner

    whole = train('whole')
    train('broken')
    for path in (tmp_path / 'broken').glob('*iter_4.pth'):
        path.unlink()
    resumed = train('broken', resume=True)
    state = whole.model.state_dict()
    assert any(key.startswith(LEARNED[job]) for key in state)
    assert same_state(resumed.model.state_dict(), state)
    for name, wrapper in wrappers(whole).items():
        one, other = (
            each.state_dict()['state'] for each in (wrapper, wrappers(resumed)[name])
        )
        assert one and one.keys() == other.keys()
        assert all(same_state(one[index], other[index]) for index in one)
    assert names(tmp_path / 'broken') == names(tmp_path / 'whole')
    teacher = whole.model.teachers['teacher'].model.state_dict()
    assert same_state(teacher, teacher_state(short(job, tmp_path)))
    plain = MODELS.build(short(ALONE[job], tmp_path).model)
    saved = torch.load(tmp_path / 'whole' / 'student_iter_4.pth', weights_only=False)
    plain.load_state_dict(saved['state_dict'], strict=True)
    classes = whole.train_dataloader.dataset.metainfo['classes']
    assert saved['meta']['dataset_meta']['classes'] == classes


def final(cfg: Any, runner: type[Runner] | None = None) -> dict[str, Tensor]:
    built = build(cfg) if runner is None else runner.from_cfg(cfg)
    built.train()
    state: dict[str, Tensor] = built.model.state_dict()
    return state


class SaveStartHook(Hook):
    """Saves what the student starts from."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def before_train(self, runner: Any) -> None:
        state = runner.model.student_state_dict(runner.model.state_dict())
        torch.save({'state_dict': state}, self.path)


HEADS = ['neck', 'rpn_head', 'roi_head']
FREE: dict[str, Any] = {'optim_wrapper.clip_grad': None}
CLIPPED: dict[str, Any] = {'optim_wrapper.clip_grad': {'max_norm': 0.5}}
ACCUMULATED: dict[str, Any] = {'optim_wrapper.accumulative_counts': 2}
# `make test` has those that hold of most at once.
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ('job', 'changes', 'inherited'),
    [
        pytest.param(DETECTION, FREE, [], id='detection', marks=SLOW),
        pytest.param(DETECTION, CLIPPED, [], id='detection clipped', marks=SLOW),
        pytest.param(DETECTION, FREE, HEADS, id='detection inherited', marks=SLOW),
        pytest.param(DETECTION, CLIPPED, HEADS, id='detection inherited clipped'),
        pytest.param(SEGMENTATION, FREE, [], id='segmentation', marks=SLOW),
        pytest.param(SEGMENTATION, CLIPPED, [], id='segmentation clipped', marks=SLOW),
        pytest.param(SEGMENTATION, ACCUMULATED, [], id='segmentation accumulated'),
    ],
)
def test_weight_0_is_the_host_s_own_run(
    tmp_path: Path, job: str, changes: dict[str, Any], inherited: list[str]
) -> None:
    cfg = short(job, tmp_path / 'ours', **changes, **{'model.task_loss_weights': None})
    cfg.model.init_from_teacher = inherited
    for pair in cfg.model.pairs.values():
        pair.loss.loss_weight = 0.0
    ours = build(cfg)
    teachers = ours.model.teachers.values()
    start = tmp_path / 'start.pth'
    ours.register_hook(SaveStartHook(start))
    ours.train()
    # From random weights the host draws its own; else it is given them.
    given = {'load_from': str(start)} if inherited else {}
    host = final(short(ALONE[job], tmp_path / 'host', **changes, **given), Runner)
    assert same_state(ours.model.student_state_dict(ours.model.state_dict()), host)
    assert all(not key.startswith('teacher') for key in ours.model.state_dict())
    assert any(key.startswith(LEARNED[job]) for key in ours.model.state_dict())
    own = {id(each) for each in ours.model.parameters()}
    optimised = {
        id(each)
        for wrapper in wrappers(ours).values()
        for group in wrapper.param_groups
        for each in group['params']
    }
    assert optimised <= own
    assert list(teachers)


@pytest.mark.slow
@pytest.mark.parametrize('job', MAIN_JOBS)
def test_mixed_precision_on_the_cpu(tmp_path: Path, job: str) -> None:
    losses: list[dict[str, float]] = []
    for amp in (False, True):
        cfg = short(job, tmp_path / str(amp), **{'train_cfg.max_iters': 1})
        if amp:
            enable_amp(cfg)
        runner = build(cfg)
        runner.train()
        own = wrappers(runner)['student']
        assert isinstance(own, BFloat16OptimWrapper) == amp
        state = runner.model.state_dict().values()
        assert all(value.isfinite().all() for value in state)
        scalars = runner.message_hub.log_scalars
        losses.append({k: v.current() for k, v in scalars.items() if 'loss_' in k})
    plain, mixed = losses
    assert plain.keys() == mixed.keys()
    assert {f'train/loss_kd_{name}' for name in cfg.model.pairs} <= plain.keys()
    for key, value in plain.items():
        # Which boxes are sampled hangs on scores that are nearly equal in a new model.
        if not key.endswith(('loss_bbox', 'rcn_reg')):
            assert mixed[key] == pytest.approx(value, rel=2e-2), key


@pytest.mark.parametrize('job', MAIN_JOBS)
def test_averaged_weights_hold_no_teacher(tmp_path: Path, job: str) -> None:
    cfg = short(job, tmp_path)
    cfg.custom_hooks.append({'type': 'EMAHook', 'momentum': 0.3})
    runner = build(cfg)
    runner.train()
    (ema,) = (hook for hook in runner.hooks if hasattr(hook, 'ema_model'))
    averaged = ema.ema_model.module
    assert averaged.teachers['teacher'] is runner.model.teachers['teacher']
    saved = torch.load(tmp_path / 'student_iter_4.pth', weights_only=False)
    assert same_state(saved['state_dict'], averaged.student.state_dict())
    assert not any('teacher' in key for key in ema.ema_model.state_dict())


def test_one_optimiser_where_two_are_needed_is_told_by_the_host_s_runner(
    tmp_path: Path,
) -> None:
    runner = Runner.from_cfg(short(SEGMENTATION, tmp_path))
    message = "no optimiser 'holistic_critic'.* Set runner_type='kd_plugins.DistillR"
    with pytest.raises(ConfigError, match=message):
        runner.train()
