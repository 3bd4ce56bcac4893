"""A plain run goes on as a distillation: the student's optimiser keeps its state."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.optim import (
    CosineAnnealingLR,
    MultiStepLR,
    OptimWrapper,
    OptimWrapperDict,
    ReduceOnPlateauLR,
)
from torch import nn

from kd_plugins.engine.plain_run import continue_plain_run
from kd_plugins.errors import CheckpointError
from tests.engine.hooks.toy import same_state, train

pytestmark = [
    pytest.mark.host,
    # The original family's own way of reading checkpoints.
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
PLAIN = {'_delete_': True, 'type': 'ToyStudent'}


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work dir of a plain run, of which the checkpoints of iteration 8 and 10 exist."""
    folder = tmp_path_factory.mktemp('plain')
    train(folder, model=PLAIN)
    return folder


def log_of(folder: Path) -> str:
    return next(folder.rglob('*.log')).read_text()


def test_a_distillation_without_pairs_ends_as_the_plain_run(
    plain: Path, tmp_path: Path
) -> None:
    runner = train(
        tmp_path,
        resume=True,
        load_from=str(plain / 'iter_8.pth'),
        log_level='INFO',
        **{'model.adapter': False},
    )
    whole = torch.load(plain / 'iter_10.pth', weights_only=False)['state_dict']
    assert same_state(runner.model.student.state_dict(), whole)
    assert 'iter_8.pth is of a plain run: the student goes on from iteration 8' in (
        log_of(tmp_path)
    )
    assert 'The learning rate is' not in log_of(tmp_path)


def test_adapters_start_fresh_at_the_rate_of_that_iteration(
    plain: Path, tmp_path: Path
) -> None:
    adapters = {'optim_wrapper.adapter_cfg': {'lr_mult': 2.0}}
    changes = {'train_cfg': {'max_iters': 9}, **adapters}
    start = {'resume': True, 'load_from': str(plain / 'iter_8.pth')}
    resumed = train(tmp_path / 'resumed', **start, **changes)
    whole = train(tmp_path / 'whole', **changes)
    for ours, expected in zip(
        resumed.optim_wrapper.optimizer.param_groups,
        whole.optim_wrapper.optimizer.param_groups,
        strict=True,
    ):
        assert ours['lr'] == pytest.approx(expected['lr'], rel=1e-12)
    state = resumed.optim_wrapper.optimizer.state
    steps = {
        name: int(state[parameter]['step'])
        for name, parameter in resumed.model.named_parameters()
    }
    assert steps.pop('adapters.hint.weight') == steps.pop('adapters.hint.bias') == 1
    assert set(steps.values()) == {9}


def test_another_schedule_is_told(plain: Path, tmp_path: Path) -> None:
    start = {'resume': True, 'load_from': str(plain / 'iter_8.pth')}
    schedule = {'param_scheduler.T_max': 100, 'log_level': 'INFO'}
    train(tmp_path, **start, **schedule)
    # half a cosine of 100 iterations, from 0.05
    rate = 0.05 * (1 + math.cos(math.pi * 8 / 100)) / 2
    told = f"rate is {rate:.4g} there, as this config schedules it; the plain run's was"
    assert told in log_of(tmp_path)


def test_averaged_weights_go_on_too(tmp_path: Path) -> None:
    hooks = {'custom_hooks': [{'type': 'EMAHook'}]}
    train(tmp_path / 'plain', model=PLAIN, **hooks)
    start = {'resume': True, 'load_from': str(tmp_path / 'plain' / 'iter_8.pth')}
    runner = train(tmp_path / 'run', **start, **hooks, **{'model.adapter': False})
    content = torch.load(tmp_path / 'plain' / 'iter_10.pth', weights_only=False)
    averaged = torch.load(tmp_path / 'run' / 'student_iter_10.pth', weights_only=False)
    assert runner.iter == 10
    assert same_state(averaged['state_dict'], content['state_dict'])


@pytest.mark.parametrize('model', [PLAIN, {}], ids=['plain', 'distillation'])
def test_weights_alone_are_no_run(
    plain: Path, tmp_path: Path, model: dict[str, Any]
) -> None:
    weights = torch.load(plain / 'iter_8.pth', weights_only=False)
    weights = {key: weights[key] for key in ('meta', 'state_dict')}
    torch.save(weights, tmp_path / 'student.pth')
    with pytest.raises(
        CheckpointError,
        match=r"student.pth' cannot be resumed: it holds weights, and no optimizer nor "
        r"message_hub. .* leave out --resume, and set load_from='.*student.pth'",
    ):
        train(
            tmp_path / 'run',
            model=model,
            resume=True,
            load_from=str(tmp_path / 'student.pth'),
        )


def test_a_student_of_another_architecture_does_not_go_on(
    plain: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        CheckpointError, match=r"^resume: '.*iter_8.pth' is of another arch"
    ):
        train(
            tmp_path,
            resume=True,
            load_from=str(plain / 'iter_8.pth'),
            **{'model.student.width': 7},
        )


def test_other_parameter_groups_name_load_from(plain: Path, tmp_path: Path) -> None:
    decay = {'paramwise_cfg': {'norm_decay_mult': 0.0}}
    with pytest.raises(
        CheckpointError, match=r'had other parameter groups .* \[6\], .* load_from='
    ):
        train(
            tmp_path,
            resume=True,
            load_from=str(plain / 'iter_8.pth'),
            optim_wrapper=decay,
        )


class TestSchedulesAreRepeated:
    """As the host's hook steps them: by iterations, and at the end of epochs."""

    def run(self, several: bool = False) -> tuple[SimpleNamespace, dict[str, Any]]:
        def wrapper(parameters: int) -> OptimWrapper:
            module = nn.ParameterList(nn.Parameter(torch.ones(2)) for _ in range(3))
            optimizer = torch.optim.SGD(list(module)[:parameters], lr=1.0, momentum=0.9)
            return OptimWrapper(optimizer)

        model = nn.Linear(1, 1)
        student = wrapper(2)
        plain = {**wrapper(2).state_dict(), 'state': {0: {'momentum_buffer': 'kept'}}}
        optim_wrapper = (
            OptimWrapperDict(student=student, critic=wrapper(3)) if several else student
        )
        runner = SimpleNamespace(
            model=SimpleNamespace(student=model),
            optim_wrapper=optim_wrapper,
            param_schedulers=None,
        )
        meta = {'iter': 40, 'epoch': 2}
        weights = {'state_dict': model.state_dict()}
        whole = {'optimizer': plain, 'meta': meta, 'param_schedulers': []}
        return runner, {**whole, **weights}

    def test_by_epoch_and_by_iteration(self) -> None:
        runner, checkpoint = self.run()
        optimizer = runner.optim_wrapper.optimizer
        runner.param_schedulers = [
            CosineAnnealingLR(optimizer, T_max=80, by_epoch=False),
            MultiStepLR(optimizer, [1, 2], gamma=0.1),
        ]
        lines = continue_plain_run(checkpoint, runner, 'x.pth')
        # A cosine at its half, and two steps, of which the cosine takes no notice.
        (group,) = checkpoint['optimizer']['param_groups']
        assert group['lr'] == pytest.approx(0.5 * 0.01)
        assert checkpoint['optimizer']['state'] == {0: {'momentum_buffer': 'kept'}}
        assert [state['_global_step'] for state in checkpoint['param_schedulers']] == [
            *(40, 2)
        ]
        assert "the plain run's was 1." in lines[1]

    def test_what_a_loss_trains_by_itself_starts_fresh(self) -> None:
        runner, checkpoint = self.run(several=True)
        runner.param_schedulers = {
            name: [MultiStepLR(wrapper.optimizer, [1], by_epoch=False)]
            for name, wrapper in runner.optim_wrapper.items()
        }
        continue_plain_run(checkpoint, runner, 'x.pth')
        assert checkpoint['optimizer']['student']['state'] == {
            0: {'momentum_buffer': 'kept'}
        }
        assert checkpoint['optimizer']['critic']['state'] == {}
        for state in checkpoint['optimizer'].values():
            assert state['param_groups'][0]['lr'] == pytest.approx(0.1)
        assert set(checkpoint['param_schedulers']) == {'student', 'critic'}

    def test_what_followed_a_metric_cannot_be(self) -> None:
        runner, checkpoint = self.run()
        runner.param_schedulers = [
            ReduceOnPlateauLR(runner.optim_wrapper.optimizer, monitor='acc')
        ]
        with pytest.raises(CheckpointError, match=r"ReduceOnPlateau .* load_from='x"):
            continue_plain_run(checkpoint, runner, 'x.pth')
