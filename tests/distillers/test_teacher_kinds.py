"""What holds for every distillation, of teachers that are more than a frozen model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from kd_plugins.registry import MODELS

from .runs import assert_same_weights, train
from .tiny import all_pairs, config, faster_rcnn, weights_of
from .tiny_teachers import ensemble, privileged, route, save_anchors

pytestmark = pytest.mark.host
OURS = dict(runner_type='kd_plugins.DistillRunner')
KINDS = ('ensemble', 'weighed', 'route', 'privileged')


def run_of(
    kind: str, folder: Path, weight: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model and changes of a run of four iterations, under a kind of teacher."""
    pairs = all_pairs(weight)
    changes: dict[str, Any] = dict(OURS)
    if kind == 'ensemble':
        models = faster_rcnn(base=8, width=16), faster_rcnn()
        teacher = ensemble(*models)
    elif kind == 'weighed':  # by labels: RoIs; the others by themselves
        teacher = ensemble(combine=dict(type='ConfidenceWeights'))
        for name in ('hint', 'rcn_reg', 'rpn_reg'):
            pairs[name]['combine'] = dict(type='MeanLosses')
    elif kind == 'route':
        folder.mkdir(exist_ok=True)
        teacher = route(save_anchors(folder, 2), interval=3)
    else:
        teacher = privileged()
        loader = dict(batch_size=2, num_workers=0, dataset=dict(type='PairedImages'))
        sampler = dict(type='InfiniteSampler', shuffle=True)
        changes['train_dataloader'] = dict(loader, sampler=sampler)
    return config(pairs, teacher=teacher), changes


@pytest.fixture(scope='module')
def host(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The student, trained by its host alone."""
    runner = train(faster_rcnn(), tmp_path_factory.mktemp('host'))
    return weights_of(runner.model)


@pytest.mark.parametrize('kind', KINDS)
def test_weight_0_is_the_hosts_own_run(
    kind: str, tmp_path: Path, host: dict[str, torch.Tensor]
) -> None:
    model, changes = run_of(kind, tmp_path / 'files', weight=0.0)
    ours = train(model, tmp_path / 'ours', **changes).model
    assert_same_weights(ours.student_state_dict(ours.state_dict()), host)


@pytest.mark.parametrize('kind', KINDS)
def test_teachers_stay_and_the_students_file_is_the_hosts(
    kind: str, tmp_path: Path, host: dict[str, torch.Tensor]
) -> None:
    model, changes = run_of(kind, tmp_path / 'files', weight=1.0)
    fresh = MODELS.build(model).teachers
    before = {
        name: weights_of(teacher.prepare(torch.device('cpu')))
        for name, teacher in fresh.items()
    }  # random, of a fixed seed; of a route the last anchor
    hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage')]
    runner = train(model, tmp_path / 'ours', custom_hooks=hooks, **changes)
    trained = runner.model
    held = set()
    for name, teacher in trained.teachers.items():
        assert_same_weights(before[name], teacher.model.state_dict())
        assert not any(module.training for module in teacher.model.modules())
        held |= {id(parameter) for parameter in teacher.model.parameters()}
    assert not held & {id(parameter) for parameter in trained.parameters()}
    saved = torch.load(tmp_path / 'ours' / 'iter_4.pth', weights_only=False)
    parts = {name.split('.')[0] for name in saved['state_dict']}
    assert parts == {'student', 'adapters'}
    student = torch.load(tmp_path / 'ours' / 'student_iter_4.pth', weights_only=False)
    plain = MODELS.build(faster_rcnn())
    plain.load_state_dict(student['state_dict'], strict=True)
    assert any(not torch.equal(host[name], plain.state_dict()[name]) for name in host)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['ensemble', 'route', 'privileged'])
def test_a_resumed_run_ends_as_the_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    """A route is resumed before its border, and crosses it."""
    model, changes = run_of(kind, tmp_path / 'files', weight=1.0)
    changes['default_hooks'] = dict(
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)
    )
    whole = train(model, tmp_path / 'whole', **changes)
    train(model, tmp_path / 'broken', **changes)
    for path in (tmp_path / 'broken').glob('*iter_4.pth'):
        path.unlink()
    resumed = train(model, tmp_path / 'broken', resume=True, **changes)
    assert_same_weights(whole.model.state_dict(), resumed.model.state_dict())
    losses = [
        runner.message_hub.get_scalar('train/loss_kd_hint').data[0]
        for runner in (whole, resumed)
    ]
    assert losses[0][-2:].tolist() == losses[1][-2:].tolist()
    if kind == 'route':
        assert losses[0][2] != losses[0][3]


# ESKD: distil up to a step, then the task alone.


def gate(stop: int) -> dict[str, Any]:
    """Of a training of four iterations; 'until the end' is a border behind it."""
    return dict(type='StepSchedule', values=[1.0, 0.0], milestones=[stop])


@HOOKS.register_module()
class TeacherRunsHook(Hook):
    """Notes in which iterations each teacher runs."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {}

    def before_train(self, runner: Any) -> None:
        for name, teacher in runner.model.teachers.items():
            seen = self.seen.setdefault(name, [])
            teacher.model.backbone.register_forward_hook(
                lambda *args, seen=seen: seen.append(runner.iter)
            )


@pytest.mark.parametrize('kind', ['ensemble', 'route', 'privileged'])
def test_behind_the_students_gate_no_teacher_runs(kind: str, tmp_path: Path) -> None:
    model, changes = run_of(kind, tmp_path / 'files', weight=gate(2))
    hooks = [dict(type='TeacherRunsHook')]
    runner = train(model, tmp_path / 'ours', custom_hooks=hooks, **changes)
    (seen,) = [each.seen for each in runner.hooks if isinstance(each, TeacherRunsHook)]
    assert seen == {name: [0, 1] for name in runner.model.teachers}
    logged = runner.message_hub.get_scalar('train/loss_kd_hint').data[0]
    assert (logged[:2] > 0).all() and (logged[2:] == 0).all()


def test_a_gate_at_0_is_the_baseline_and_one_at_the_end_plain_distillation(
    tmp_path: Path, host: dict[str, torch.Tensor]
) -> None:
    ends = {}
    for name, weight in (('0', gate(0)), ('end', gate(4)), ('plain', 1.0)):
        cfg = config(all_pairs(weight))
        ends[name] = train(cfg, tmp_path / name, **OURS).model
    student = ends['0'].student_state_dict(ends['0'].state_dict())
    assert_same_weights(student, host)
    assert_same_weights(ends['end'].state_dict(), ends['plain'].state_dict())
